"""The whole search: what is called exact gives what the naive search gives, for less."""

from __future__ import annotations

from dataclasses import replace

import pytest
import support

from stablequant.jobs.open import simulator
from stablequant.observe.collect import Histograms
from stablequant.search.journal import Journal
from stablequant.search.naive import NaiveTrials
from stablequant.search.objective import TaskError
from stablequant.search.stage1 import alone
from stablequant.search.stages import Found, search
from stablequant.search.trials import Candidate, Cost, Trials
from stablequant.settings import Settings
from stablequant.tasks.task import task_of

#: Coarse, so that some layers are flagged and some are not, and different p are told apart by a few words.
SETTINGS = Settings(bits=6, gamma=5.0, p_max=0.4, p_step=0.1)


def histograms(name: str) -> Histograms:
    found = support.histograms(name)
    return {op.name: found[op.name] for op in support.MODELS[name]().ops()}


#: Every layer of the small model; of the other some from all over, the worst among them.
EVERY = {"graft": slice(None), "moonshine": slice(2, None, 6)}


def run(kind: type[Trials], name: str, settings: Settings = SETTINGS) -> Found:
    objective = TaskError(task_of(settings.data))
    trials = kind(simulator(support.MODELS[name](), settings), support.speech(batch_size=2), settings, objective)
    return search(trials, dict(list(histograms(name).items())[EVERY[name]]), settings)


@pytest.mark.parametrize("name", EVERY)
def test_the_exact_search_finds_what_the_naive_one_finds(name: str) -> None:
    naive, exact = run(NaiveTrials, name), run(Trials, name)
    flags = [layer.flagged for layer in naive.layers]
    assert any(flags)
    assert not all(flags)
    assert len({t.rate for t in naive.stage2.trials}) > 1
    # Answers, rates, intervals, flags, p, scales: all of it, to the last bit.
    assert replace(exact, spent=naive.spent) == naive
    assert exact.spent.naive == naive.spent.naive == 1 + len(flags) + len(SETTINGS.search.candidates())
    # Quantised, a decoder may have more to say.
    assert naive.spent.evaluations == pytest.approx(naive.spent.naive, rel=1e-6 if name == "graft" else 0.05)
    assert exact.spent.stage_1 < 0.6 * naive.spent.stage_1


@pytest.mark.parametrize("name", support.MODELS)
def test_company_shares_what_float_computes_and_does_not_change_what_float_is_counted(name: str) -> None:
    plain = Candidate("float", {})
    *_, last = alone(histograms(name), SETTINGS)
    costs = []
    for candidates in ([plain], [plain, last], [last]):
        objective = TaskError(task_of(SETTINGS.data))
        trials = Trials(simulator(support.MODELS[name](), SETTINGS), support.speech(batch_size=2), SETTINGS, objective)
        trials.run(candidates, "some")
        costs.append(trials.cost.by_candidate)
    single, both, without = costs
    assert both[plain.key()] == single[plain.key()]
    assert both[last.key()] < 0.5 * without[last.key()]


def test_what_is_counted_does_not_depend_on_who_computed_it_and_when() -> None:
    simulated, speech, objective = (
        simulator(support.graft(), SETTINGS),
        support.speech(),
        TaskError(task_of(SETTINGS.data)),
    )
    some = {name: grids for name, grids in list(histograms("graft").items())[:6]}
    with Journal(None) as journal:
        costs = []
        for _ in range(2):
            trials = Trials(simulated, speech, SETTINGS, objective, journal)
            search(trials, some, SETTINGS)
            costs.append(trials.cost)
    assert costs[0] == costs[1] != Cost()
