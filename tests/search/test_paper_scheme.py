"""The paper's rules on estimates and few utterances: who is flagged, and which p is taken."""

from __future__ import annotations

from functools import cache

import pytest
import support

from stablequant.jobs.open import simulator
from stablequant.quantize import calibrated
from stablequant.search.allocate import SHORT_BATCH
from stablequant.search.fisher import estimate
from stablequant.search.objective import POINTS_A_NAT, Divergence
from stablequant.search.paper_scheme import STEP, UTTERANCES, naive_costs, paper_scheme
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings

#: What the paper's scheme does not take over: it has one code and no zero points whatever the run has.
SETTINGS = Settings.parse(
    {"strategy": "allocate", "objective": "divergence", "calibrator": "max", "symmetric": False, "batch_size": 4}
)
PLAIN = SETTINGS.updated(calibrator="mse", symmetric=True)
SECOND, THIRD = (f"wavlm.feature_extractor.conv_layers.{i}.conv" for i in (1, 2))


@cache
def runner() -> Trials:
    return Trials(simulator(support.graft(), SETTINGS), support.speech(support.SHORT[:2]), SETTINGS, Divergence())


def naive() -> dict[str, float]:
    """Just below gamma, but for two layers."""
    limit = SETTINGS.search.gamma / POINTS_A_NAT
    return {op.name: 0.99 * limit for op in support.graft().ops()} | {SECOND: 1.01 * limit, THIRD: 3 * limit}


def test_layers_beyond_gamma_are_clipped_at_the_p_of_least_divergence_and_all_others_have_least_squared_error() -> None:
    histograms = {op.name: support.histograms("graft")[op.name] for op in support.graft().ops()}
    found = paper_scheme(runner(), histograms, naive(), SETTINGS, evaluation=1)
    assert found.flagged == (THIRD, SECOND)
    base = calibrated.uniform(histograms, "mse", PLAIN)
    values = [round(i * STEP, 6) for i in range(11)]
    assert (values[-1], found.tried, found.utterances) == (0.5, 11, min(UTTERANCES, len(runner().speech.utterances)))
    schemes = {
        p: base | {n: calibrated.layer(histograms, n, "clipped_mse", PLAIN, p) for n in found.flagged} for p in values
    }
    outcomes = runner().on([0, 1]).run([Candidate(f"{p}", scheme) for p, scheme in schemes.items()], "again")
    rates = {p: outcome.score.rate for p, outcome in zip(values, outcomes, strict=True)}
    assert len(set(rates.values())) > 5, "p is meant to make a difference"
    assert found.p == min(rates, key=rates.__getitem__) > 0
    assert found.scheme == schemes[found.p]
    assert found.evaluations > 0


def test_what_the_naive_scale_of_stage_1_costs_is_estimated_of_every_layer() -> None:
    histograms = {op.name: support.histograms("graft")[op.name] for op in support.graft().ops()}
    found = naive_costs(runner(), histograms, SETTINGS)
    assert found.keys() == histograms.keys()
    part = runner().on(range(len(runner().speech.utterances)), SETTINGS.data.batch_size, SHORT_BATCH)
    scheme = calibrated.layer(histograms, SECOND, "max", SETTINGS)
    assert estimate(part, {SECOND: {"alone": scheme}})[SECOND]["alone"] == pytest.approx(found[SECOND], rel=1e-3)


def test_where_nothing_is_sensitive_nothing_is_tried() -> None:
    histograms = {op.name: support.histograms("graft")[op.name] for op in support.graft().ops()}
    found = paper_scheme(runner(), histograms, dict.fromkeys(histograms, 0.0), SETTINGS, evaluation=1)
    assert (found.flagged, found.p, found.tried) == ((), None, 0)
    assert found.scheme == calibrated.uniform(histograms, "mse", PLAIN)
