"""Layers left in float: the fewest bytes that bring the plan under its limit, and a file that does so."""

from __future__ import annotations

import json
from functools import cache

import pytest
import support

from stablequant.jobs.open import simulator
from stablequant.jobs.quantize import quantize
from stablequant.quantize.plan import Plan
from stablequant.quantize.simulate import Simulator
from stablequant.report.summary import summarise
from stablequant.search.exact import Exact
from stablequant.search.fallback import FloatFallback, float_fallback, prices
from stablequant.search.objective import TaskError
from stablequant.search.trials import Candidate, Outcome, Trials
from stablequant.settings import Settings
from stablequant.tasks.task import task_of

#: Coarse: all layers together cost several words.
SETTINGS = Settings(bits=5)
SUSPECTS = tuple(f"wavlm.feature_extractor.conv_layers.{i}.conv" for i in range(3))


@cache
def fixture() -> tuple[Trials, Outcome, dict[str, object], dict[str, int]]:
    objective = TaskError(task_of(SETTINGS.data))
    trials = Trials(simulator(support.graft(), SETTINGS), support.speech(batch_size=4), SETTINGS, objective)
    (reference,) = trials.run([Candidate("float", {})], "float")
    everything = support.scheme("graft", "max", bits=5)
    scheme = {name: everything[name] for name in SUSPECTS}
    return trials, reference, scheme, prices(trials.simulator, trials.speech, "bytes")


@cache
def run(limit: float, by: str = "bytes") -> FloatFallback:
    trials, reference, scheme, price = fixture()
    if by == "multiplications":
        price = prices(trials.simulator, trials.speech, by)
    histograms = {name: support.histograms("graft")[name] for name in SUSPECTS}
    layers = Exact(trials, reference).sensitivity(histograms)
    # A copy is not validated: no setting asks for a gain, which is out of reach.
    search = SETTINGS.search.model_copy(update={"max_drop": limit, "max_drop_by": by})
    settings = SETTINGS.model_copy(update={"search": search})
    return float_fallback(trials, reference, scheme, layers, price, settings)  # type: ignore[arg-type]


def drop(floats: set[str]) -> float:
    trials, reference, scheme, _ = fixture()
    candidate = Candidate("it", {n: g for n, g in scheme.items() if n not in floats})  # type: ignore[misc]
    (outcome,) = trials.run([candidate], "it", base=scheme)  # type: ignore[arg-type]
    return outcome.score.rate - reference.score.rate


def test_a_plan_within_the_limit_is_left_as_it_is() -> None:
    found = run(100.0)
    assert found.floats == {}
    assert found.scheme == fixture()[2]
    assert found.before == found.after == drop(set())


def test_layers_go_to_float_until_the_limit_holds_and_no_further() -> None:
    limit = drop(set()) - 1e-6
    found = run(limit)
    assert found.floats
    assert found.after == drop(set(found.floats)) <= limit < found.before
    assert found.scheme.keys() == fixture()[2].keys() - found.floats.keys()
    for name in found.floats:
        assert drop(set(found.floats) - {name}) > limit
    cheaper = [s for s in SUSPECTS if sum(found.floats.values()) > fixture()[3][s]]
    assert all(drop({name}) > limit for name in cheaper)


def test_a_limit_out_of_reach_is_not_pretended() -> None:
    found = run(-50.0)
    assert found.after > -50.0
    assert set(found.floats) <= set(SUSPECTS)


def test_prices_are_bytes_beyond_int8_or_multiplications() -> None:
    trials, *_, in_bytes = fixture()
    work = prices(trials.simulator, trials.speech, "multiplications")
    first, second = SUSPECTS[:2]
    graph = support.graft().graphs[0]
    weight = graph.weights[f"{second}.weight"]
    assert in_bytes[second] == 3 * weight.numel()
    # The first convolution has few weights and many steps.
    assert in_bytes[first] < in_bytes[second]
    steps = {name: work[name] // graph.weights[f"{name}.weight"][0].numel() for name in (first, second)}
    assert steps[first] > steps[second] > 0


def test_a_plan_with_layers_in_float_is_exported_and_told(tmp_path) -> None:  # type: ignore[no-untyped-def]
    settings = Settings(calibrator="max", gamma=99.0, p_max=0.0, max_drop=0.0)
    evidence = quantize(
        str(support.GRAFT), [str(support.small_manifest(tmp_path / "speech.jsonl"))], tmp_path / "out", settings
    )
    plan, summary = Plan.load(tmp_path / "out" / "plan.json"), summarise(evidence)
    floats = summary["ops_float"]
    if not floats:
        pytest.fail("all layers in int8 cost nothing here: the test shows nothing")
    assert summary["ops_int8"] == summary["ops"] - len(floats) == len(plan.scheme())
    for layer in plan.layers:
        assert (layer.name in floats) == (layer.calibrator == "float") == (layer.weight is None)
        if layer.name in floats:
            assert "left in float" in layer.reason
            assert "max_drop 0" in layer.reason
    file = json.dumps(evidence.file_bytes)
    assert int(file) > sum(prices(Simulator(support.graft()), support.speech(), "bytes")[n] for n in floats)
