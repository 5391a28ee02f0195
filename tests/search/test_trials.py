"""Trials: a shortcut gives what the long way gives, nothing is done twice, and a killed run goes on."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

import pytest
import support
import torch

from stablequant.data.speech import Speech
from stablequant.errors import DataError
from stablequant.grid.affine import QuantParams
from stablequant.grid.weights import PerTensor, WeightSpec
from stablequant.heads.head import Answer
from stablequant.observe.moments import moments_once
from stablequant.progress import Progress, silent
from stablequant.quantize.scheme import LayerScheme, Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.search.batch import first_difference
from stablequant.search.handover import HandedOver, take
from stablequant.search.journal import Journal
from stablequant.search.objective import Divergence, Objective, TaskError
from stablequant.search.trials import Candidate, Outcome, Trials
from stablequant.settings import Settings
from stablequant.tasks.task import task_of

SETTINGS = Settings()
WORDS = TaskError(task_of(SETTINGS.data))


def on_grid(scale: float, zero_point: int = 0) -> LayerScheme:
    return LayerScheme((QuantParams(scale, zero_point),), WeightSpec())


COARSE = on_grid(2.0)


@cache
def simulator(name: str) -> Simulator:
    return Simulator(support.MODELS[name]())


@cache
def speech() -> Speech:
    return support.speech()


def trials(name: str, journal: Journal) -> Trials:
    return Trials(simulator(name), speech(), SETTINGS, WORDS, journal)


def directly(name: str, scheme: Scheme) -> list[Answer]:
    """The long way: every batch from its waveform, without hints."""
    found: dict[int, Answer] = {}
    backend = simulator(name).backend(scheme)
    for batch in speech().batches:
        answers = simulator(name).model.frontend.recognize(backend, speech().waveforms_of(batch))
        found.update(zip(batch, answers, strict=True))
    return [found[i] for i in range(len(found))]


def some_layers(name: str) -> list[str]:
    """From the first layer to the last, of every graph."""
    names = [op.name for op in support.MODELS[name]().ops()]
    return [names[0], names[2], names[len(names) // 3], names[-len(names) // 3], names[-2], names[-1]]


@pytest.mark.parametrize("name", support.MODELS)
def test_a_run_from_the_middle_is_a_full_run_to_the_last_bit(name: str) -> None:
    model = support.MODELS[name]()
    executor = simulator(name).executors[model.graphs[0].name]
    base, scheme = support.scheme(name, "max"), support.scheme(name, "mse")
    values = support.feeds(model, support.waveforms())
    full = executor.run(values, simulator(name).operands(scheme))
    names = [node.name for node in executor.graph.nodes]
    for layer in [n for n in some_layers(name) if n in names][1:4]:
        mixed = {n: (scheme if names.index(n) >= names.index(layer) else base)[n] for n in names if n in scheme}
        start = first_difference(simulator(name), mixed, base)
        frontier = executor.run(values, simulator(name).operands(base), stop=start)
        resumed = executor.run(frontier, simulator(name).operands(mixed), start=start)
        expected = executor.run(values, simulator(name).operands(mixed))
        assert start >= names.index(layer)
        for output in executor.graph.outputs:
            assert torch.equal(resumed[output], expected[output])
        assert any(not torch.equal(full[output], expected[output]) for output in executor.graph.outputs)


@pytest.mark.parametrize(
    ("name", "quantised", "hinted"),
    [
        ("graft", False, False),
        ("graft", True, False),
        ("moonshine", False, True),
        ("moonshine", False, False),
        ("moonshine", True, False),
    ],
)
def test_each_candidate_gets_the_answers_of_a_full_run(name: str, quantised: bool, hinted: bool) -> None:
    base = support.scheme(name, "mse") if quantised else {}
    candidates = [Candidate(layer, {**base, layer: COARSE}) for layer in some_layers(name)]
    candidates.append(Candidate("as the base", base))
    with Journal(None) as journal:
        (reference,) = trials(name, journal).run([Candidate("float", {})], "float")
        known = reference.readings if hinted else None
        outcomes = trials(name, journal).run(candidates, "layers", base=base, reference=known)
    assert len({o.readings for o in outcomes}) > 2
    for outcome in outcomes:
        assert list(outcome.readings) == directly(name, outcome.candidate.scheme)


def test_outcomes_are_in_the_order_of_utterances_and_counted_right() -> None:
    with Journal(None) as journal:
        (outcome,) = trials("moonshine", journal).run([Candidate("float", {})], "float")
    assert outcome.score.ids == support.SHORT
    assert [a.text for a in outcome.readings] == [
        "Do not disturb.",
        "Is in use.",
        "No more messages.",
        "Please try again.",
    ]
    assert outcome.score.rate == 0
    assert not any(a.truncated for a in outcome.readings)


def test_candidates_whose_grids_coincide_are_evaluated_once() -> None:
    layer, other = some_layers("graft")[1:3]
    same = [Candidate(f"p {p}", {layer: on_grid(0.5)}) for p in range(3)]
    # As decimal fractions apart, as float32 one number.
    same.append(Candidate("p 3", {layer: on_grid(0.5 + 1e-10)}))
    apart = Candidate("another grid", {layer: on_grid(0.5, 1)})
    both = Candidate("another layer too", {layer: on_grid(0.5), other: on_grid(0.5)})
    turned = Candidate("in another order", {other: on_grid(0.5), layer: on_grid(0.5)})
    with Journal(None) as journal:
        outcomes = trials("graft", journal).run([*same, apart, both, turned], "some")
        assert len(journal) == 3 * len(speech().batches)
        assert len(outcomes) == 7
        assert len({o.readings for o in outcomes[:4]}) == 1
        assert [o.candidate.label for o in outcomes[:4]] == ["p 0", "p 1", "p 2", "p 3"]
        trials("graft", journal).run([apart, *same], "once more")
        assert len(journal) == 3 * len(speech().batches)


def test_progress_ends_where_it_said_it_would_and_counts_what_is_known() -> None:
    seen: list[tuple[int, int]] = []
    with Journal(None) as journal:
        candidates = [Candidate(layer, {layer: COARSE}) for layer in some_layers("graft")[:2]]
        runner = Trials(simulator("graft"), speech(), SETTINGS, WORDS, journal, lambda _, d, t: seen.append((d, t)))
        runner.run(candidates[:1], "one")
        seen.clear()
        runner.run(candidates, "both")
    total = 2 * sum(len(w) for w in speech().waveforms)
    assert seen[-1] == (total, total)
    assert {t for _, t in seen} == {total}
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)
    assert 0 < seen[0][0] < total


@pytest.mark.parametrize("change", ["weights", "audio", "objective", "decoding"])
def test_what_a_result_depends_on_is_part_of_its_key(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = some_layers("graft")[0]
    with Journal(None) as journal:
        trials("graft", journal).run([Candidate("one", {layer: COARSE})], "as it is")
        known = len(journal)
        weight = WeightSpec(per=PerTensor()) if change == "weights" else COARSE.weight
        sounds = support.speech(support.CALIBRATION) if change == "audio" else speech()
        if change == "decoding":
            monkeypatch.setattr("stablequant.search.trials.DECODING", 0)
        objective: Objective = Divergence() if change == "objective" else WORDS
        candidate = Candidate("one", {layer: LayerScheme(COARSE.activations, weight)})
        Trials(simulator("graft"), sounds, SETTINGS, objective, journal).run([candidate], "changed")
        assert len(journal) == known + len(sounds.batches)


def test_weights_made_for_other_speech_have_other_keys_and_workers_get_the_codes(tmp_path: Path) -> None:
    layer = "wavlm.encoder.layers.1.attention.q_proj"
    spec, model = WeightSpec(4, rounding="gptq"), support.graft()
    candidate = Candidate("one", {layer: LayerScheme(COARSE.activations, spec)})
    with Journal(None) as journal:
        for number, name in enumerate(support.CALIBRATION[:2], 1):
            moments = moments_once(model, support.speech((name,)), tmp_path / f"{name}.safetensors")
            store = WeightStore.of(model, moments)
            for _ in range(2):
                Trials(Simulator(model, weights=store), speech(), SETTINGS, WORDS, journal).run([candidate], name)
                assert len(journal) == number * len(speech().batches)
    given = HandedOver(Simulator(model, weights=store))
    moments.path.unlink()  # what was made before is not made again
    taken = take(given.descriptor, given.start)
    given.close()
    assert torch.equal(taken.weights.codes(layer, spec).codes, store.codes(layer, spec).codes)


def test_a_file_that_is_no_journal_is_told(tmp_path: Path) -> None:
    path = tmp_path / "trials.sqlite"
    path.write_text("no database at all, and long enough to be taken for one" * 20)
    with pytest.raises(DataError, match=r"trials\.sqlite"):
        Journal(path)


# -- a killed run ------------------------------------------------------------------------------------------------------

FINISHED = 5


def stage(journal: Journal, progress: Progress = silent) -> list[Outcome]:
    """One layer at a time on the graft: what the child is killed in the middle of."""
    layers = [op.name for op in support.graft().ops()][:12]
    runner = Trials(simulator("graft"), speech(), SETTINGS, WORDS, journal, progress)
    return runner.run([Candidate(layer, {layer: COARSE}) for layer in layers], "layers")


def rows(path: Path) -> dict[str, tuple[float, str]]:
    with sqlite3.connect(path) as db:
        return {key: (s, t) for key, s, t in db.execute("SELECT key, seconds, readings FROM trials")}


def run_and_be_killed(path: Path) -> None:
    """Die by a signal that nothing can catch, a moment into the evaluation after ``FINISHED`` of them."""
    journal = Journal(path)

    def progress(label: str, done: int, total: int) -> None:
        if len(journal) == FINISHED:
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGKILL)).start()

    stage(journal, progress)


def test_a_killed_run_goes_on_and_repeats_at_most_the_evaluation_in_flight(tmp_path: Path) -> None:
    path = tmp_path / "trials.sqlite"
    here = os.pathsep.join(
        [str(p) for p in (support.ROOT / "src", Path(__file__).parent, Path(support.__file__).parent)]
    )
    code = f"import pathlib, test_trials; test_trials.run_and_be_killed(pathlib.Path({str(path)!r}))"
    child = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": here}, capture_output=True, timeout=120
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    before = rows(path)
    total = 12 * len(speech().batches)
    assert FINISHED <= len(before) < total

    with Journal(path) as journal:
        resumed = stage(journal)
    after = rows(path)
    assert len(after) == total
    # The seconds tell that no finished evaluation was done again.
    assert {key: after[key] for key in before} == before
    with Journal(None) as journal:
        fresh = stage(journal)
    assert resumed == fresh
