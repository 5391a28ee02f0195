"""Stage 2: which p wins, and what is tried."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import support
from hypothesis import given
from hypothesis import strategies as st

from stablequant.data.speech import Speech
from stablequant.quantize import calibrated
from stablequant.quantize.simulate import Simulator
from stablequant.search.exact import Exact
from stablequant.search.journal import Journal
from stablequant.search.stage2 import PercentileSearch, Trial, choose, search
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings

#: The convolutions, whose inputs are wide: p changes the result.
FLAGGED = tuple(f"wavlm.feature_extractor.conv_layers.{i}.conv" for i in (2, 1))
#: Coarse, so that different p are told apart by a few words.
SETTINGS = Settings(p_max=0.4, p_step=0.2, bits=5)


@cache
def speech() -> Speech:
    return support.speech(batch_size=4)


@cache
def simulator() -> Simulator:
    return Simulator.under(support.graft(), SETTINGS)


def histograms() -> dict[str, object]:
    found = support.histograms("graft")
    return {op.name: found[op.name] for op in support.graft().ops()}


@cache
def run(settings: Settings, flagged: tuple[str, ...]) -> tuple[PercentileSearch, int]:
    """What the search finds, and how many evaluations it took besides the reference's."""
    with Journal(None) as journal:
        trials = Trials(simulator(), speech(), settings, journal)
        (reference,) = trials.run([Candidate("float", {})], "float")
        found = search(Exact(trials, reference, settings), histograms(), flagged, settings)  # type: ignore[arg-type]
        return found, len(journal) - len(speech().batches)


@cache
def per_layer() -> PercentileSearch:
    return run(SETTINGS.model_copy(update={"p_per_layer": True}), FLAGGED)[0]


def test_without_a_flagged_layer_nothing_is_tried() -> None:
    found, evaluations = run(SETTINGS, ())
    assert evaluations == 0
    assert (found.p, found.trials) == ({}, ())
    assert found.scheme == calibrated.uniform(histograms(), SETTINGS.base_calibrator, SETTINGS)  # type: ignore[arg-type]


def test_one_p_for_all_is_tried_over_the_whole_range() -> None:
    found, evaluations = run(SETTINGS, FLAGGED)
    assert [dict(t.p) for t in found.trials] == [dict.fromkeys(FLAGGED, p) for p in (0.0, 0.2, 0.4)]
    assert evaluations == 3 * len(speech().batches)
    assert len({(t.wer, t.cer) for t in found.trials}) > 1
    best = min(found.trials, key=lambda t: (t.wer, t.cer, t.p[FLAGGED[0]]))
    assert found.p == best.p


def test_the_scheme_found_has_the_clipped_grids_and_the_base_elsewhere() -> None:
    found, _ = run(SETTINGS, FLAGGED)
    base = calibrated.uniform(histograms(), "mse", SETTINGS)  # type: ignore[arg-type]
    assert found.scheme.keys() == base.keys()
    for name, grids in found.scheme.items():
        if name in FLAGGED:
            p = found.p[name]
            assert grids == calibrated.layer(histograms(), name, "clipped_mse", SETTINGS, p)  # type: ignore[arg-type]
        else:
            assert grids == base[name]


def test_a_trial_s_error_rates_are_those_of_its_scheme() -> None:
    found, _ = run(SETTINGS, FLAGGED)
    trial = found.trials[-1]
    scheme = calibrated.mixed(
        calibrated.uniform(histograms(), "mse", SETTINGS),  # type: ignore[arg-type]
        histograms(),  # type: ignore[arg-type]
        trial.p,
        SETTINGS,
    )
    with Journal(None) as journal:
        (alone,) = Trials(simulator(), speech(), SETTINGS, journal).run([Candidate("it", scheme)], "alone")
    assert (alone.result.wer, alone.result.cer) == (trial.wer, trial.cer)


def test_per_layer_refines_one_layer_at_a_time_from_the_best_so_far() -> None:
    found = per_layer()
    values = SETTINGS.candidates()
    shared, first, second = (found.trials[i * len(values) : (i + 1) * len(values)] for i in range(3))
    best = choose(shared)
    assert [dict(t.p) for t in first] == [{**best.p, FLAGGED[0]: p} for p in values]
    best = choose([best, *first])
    assert [dict(t.p) for t in second] == [{**best.p, FLAGGED[1]: p} for p in values]
    assert found.p == choose([best, *second]).p


def test_per_layer_is_never_worse_than_one_p_for_all_on_dev() -> None:
    found = per_layer()
    least = min((t.wer, t.cer) for t in found.trials[: len(SETTINGS.candidates())])
    chosen = next(t for t in found.trials if t.p == found.p)
    assert (chosen.wer, chosen.cer) <= least


def test_with_one_flagged_layer_there_is_nothing_to_refine() -> None:
    found, _ = run(SETTINGS.model_copy(update={"p_per_layer": True}), FLAGGED[:1])
    assert len(found.trials) == len(SETTINGS.candidates())


rate = st.sampled_from([0.0, 8.0, 12.5])
tried = st.lists(
    st.builds(Trial, st.fixed_dictionaries({"a": st.sampled_from([0.0, 0.1, 0.5])}), rate, rate), min_size=1
)


@given(tried)
def test_least_wer_wins_then_least_cer_then_least_removed(trials: list[Trial]) -> None:
    best = choose(trials)
    assert best in trials
    for other in trials:
        assert best.wer <= other.wer
        if best.wer == other.wer:
            assert best.cer <= other.cer
            if best.cer == other.cer:
                assert best.p["a"] <= other.p["a"]


@given(tried, st.randoms())
def test_the_order_of_trials_does_not_matter(trials: list[Trial], random: object) -> None:
    shuffled = list(trials)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(shuffled) == choose(trials)


@pytest.mark.parametrize(("p_max", "p_step", "count"), [(0.5, 0.01, 51), (0.5, 0.25, 3), (0.3, 0.1, 4), (0.0, 0.1, 1)])
def test_candidates_are_from_zero_to_the_end_of_the_range(p_max: float, p_step: float, count: int) -> None:
    values = Settings(p_max=p_max, p_step=p_step).candidates()
    assert len(values) == count
    assert (values[0], values[-1]) == (0.0, p_max)


def test_flagged_layers_alone_are_carried_in_two_planes_and_are_trials_of_their_own() -> None:
    settings = SETTINGS.model_copy(update={"planes": 2, "bits": 8})
    one, two = (run(s, FLAGGED)[0].scheme for s in (settings.model_copy(update={"planes": 1}), settings))
    assert {name for name, grids in two.items() if grids[0].planes == 2} == set(FLAGGED)
    assert {name for name in one if one[name] != two[name]} == set(FLAGGED)
    # With the remainder kept apart no range has to be given up for a finer step: the whole of it is covered.
    unclipped = calibrated.mixed(one, histograms(), dict.fromkeys(FLAGGED, 0.0), settings)  # type: ignore[arg-type]
    for name in FLAGGED:
        (grid,), (histogram,) = unclipped[name], support.histograms("graft")[name]
        amax = max(-histogram.minimum, histogram.maximum)
        assert grid.scale == pytest.approx(amax / grid.qmax, rel=0.01)
        assert Candidate("", {name: (grid,)}).key() != Candidate("", {name: (replace(grid, planes=1),)}).key()


def test_products_of_attention_have_one_plane() -> None:
    settings = SETTINGS.model_copy(update={"planes": 2, "attention_matmuls": True})
    product = next(op.name for op in support.graft().ops(matmuls=True) if op.node.kind == "matmul")
    found = calibrated.mixed({}, support.histograms("graft"), {product: 0.0}, settings)
    assert [grid.planes for grid in found[product]] == [1, 1]
