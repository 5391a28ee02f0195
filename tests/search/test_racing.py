"""Both stages as races on a real model: what is settled, what is heard, and what comes out."""

from __future__ import annotations

from functools import cache

import pytest
import support

from stablequant.jobs.open import simulator
from stablequant.search.objective import TaskError
from stablequant.search.racing import FINALISTS
from stablequant.search.stage2 import choose
from stablequant.search.stages import Found, search
from stablequant.search.trials import Trials
from stablequant.settings import Settings
from stablequant.tasks.task import task_of

NAMES = tuple(u for u in sorted(support._utterances()) if support._utterances()[u].split == "dev")
#: Coarse, so that the convolutions break and most layers do not; and of nine p all but the least two or three are hopeless,
#: by more than chance does to any of them.
SETTINGS = Settings(bits=6, gamma=4.0, p_max=16.0, p_step=2.0, beyond_chance=True)


@cache
def run(mode: str) -> Found:
    settings = SETTINGS.updated(strategy=mode)
    durations = {name: len(support.waveform(name)) for name in NAMES}
    short = sorted(NAMES, key=lambda n: (durations[n], n))[:40]
    ops = support.graft().ops()
    # The convolutions, and the cheap layers at the end.
    histograms = {op.name: support.histograms("graft")[op.name] for op in (*ops[:3], *ops[-21:])}
    objective = TaskError(task_of(settings.data))
    trials = Trials(simulator(support.graft(), settings), support.speech(short, batch_size=8), settings, objective)
    return search(trials, histograms, settings)


def test_a_race_flags_what_the_exact_search_flags_for_less() -> None:
    exact, raced = run("exact"), run("racing")
    flags = [layer.flagged for layer in exact.layers]
    assert 0 < sum(flags) < len(flags) / 2
    assert [layer.flagged for layer in raced.layers] == flags
    assert raced.reference == exact.reference
    assert raced.spent.naive == exact.spent.naive
    # Of forty utterances a race cannot leave out much.
    assert raced.spent.evaluations < 0.75 * exact.spent.evaluations


def test_who_heard_everything_is_judged_as_in_an_exact_search() -> None:
    exact = {layer.name: layer for layer in run("exact").layers}
    whole = [layer for layer in run("racing").layers if layer.share == 1.0]
    assert whole
    assert all(layer == exact[layer.name] for layer in whole)


def test_who_was_settled_earlier_has_a_forecast_with_an_interval() -> None:
    early = [layer for layer in run("racing").layers if layer.share < 1.0]
    assert early
    for layer in early:
        assert layer.interval is not None
        assert layer.interval[0] < layer.delta < layer.interval[1]
        assert layer.rate == pytest.approx(run("racing").reference.score.rate + layer.delta)


def test_the_p_chosen_heard_everything_and_its_wer_is_measured() -> None:
    exact, raced = run("exact").stage2, run("racing").stage2
    measured = {tuple(t.p.items()): t for t in exact.trials}
    assert [t.p for t in raced.trials] == [t.p for t in exact.trials]
    finished = [t for t in raced.trials if t.share == 1.0]
    assert len(finished) == FINALISTS < len(raced.trials) / 2
    for trial in finished:
        assert trial == measured[tuple(trial.p.items())]  # heard in the same batches, so equal to the last bit
    assert raced.p == choose(finished).p
    # Not always the best, but never a hopeless one.
    best, worst = min(t.rate for t in exact.trials), max(t.rate for t in exact.trials)
    assert worst > best + 10
    assert choose(finished).rate < (best + worst) / 2
