"""The paper's scheme at a small part of its search's cost, to set beside a choice of schemes: one calibrated scale a layer.

The rules are those of both stages (StableQuant, ICASSP 2025); what they are fed with is cheaper:

1. A layer is flagged if its naive scale alone costs more than gamma, by an estimate of all layers at once
   (search/fisher.py) at `POINTS_A_NAT`, where the paper transcribes the dev speech once a layer.
2. p is the value of the paper's range whose divergence from float is least, on a few utterances of the dev speech, where the
   paper takes the least word error rate on all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stablequant.observe.collect import Histograms
from stablequant.quantize import calibrated
from stablequant.quantize.scheme import Scheme
from stablequant.search.allocate import BITS, short
from stablequant.search.fisher import estimate
from stablequant.search.objective import POINTS_A_NAT
from stablequant.search.p_values import p_values
from stablequant.search.stage2 import Trial, choose
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings

#: Dev utterances that p is chosen on: on so few the divergence ranks schemes as on all (bench/objective.py).
UTTERANCES = 16
#: Step of p, in per cent of the mass: five of the paper's, which find the same p (bench/search_ablation.py).
STEP = 0.05


@dataclass(frozen=True)
class PaperScheme:
    """What the paper's rules come to.

    Attributes:
        scheme: Of every layer.
        flagged: The sensitive layers, the most sensitive first.
        p: Share of the mass that is clipped from them, in per cent; ``None``: none is flagged.
        tried: Values of p that were compared,
        utterances: on so many of the dev speech.
        evaluations: What the comparison took, in evaluations of the float model on the dev speech,
        seconds: and in seconds of computation.
    """

    scheme: Scheme
    flagged: tuple[str, ...]
    p: float | None
    tried: int
    utterances: int
    evaluations: float
    seconds: float


def naive_costs(trials: Trials, histograms: Histograms, settings: Settings) -> dict[str, float]:
    """Nats a step that stage 1's scale of each layer is estimated to cost alone; products of activations are left out."""
    if settings.activations.bits > BITS:  # left in float; what a code would cost is told all the same
        settings = settings.updated(**{"activations.bits": BITS})
    calibrator: str = settings.search.stage1_calibrator
    schemes = {
        layer: {calibrator: calibrated.layer(histograms, layer, calibrator, settings)}
        for layer, inputs in histograms.items()
        if len(inputs) == 1
    }
    return {layer: nats[calibrator] for layer, nats in estimate(short(trials, settings), schemes).items()}


def paper_scheme(
    trials: Trials, histograms: Histograms, naive: Mapping[str, float], settings: Settings, evaluation: int
) -> PaperScheme:
    """Find the flagged layers and their p.

    Args:
        trials: On dev speech, by divergence; finished ones are in its journal.
        histograms: Of every activation.
        naive: Nats a step that each layer's naive scale is estimated to cost alone.
        settings: Of the run; what makes a scale the paper's is set here.
        evaluation: Multiplications of the float model's answers to the dev speech.
    """
    chosen = settings.updated(calibrator="mse", symmetric=True, planes=1, p_step=STEP)
    base = calibrated.uniform(histograms, chosen.activations.calibrator, chosen)
    costs = {layer: POINTS_A_NAT * nats for layer, nats in naive.items()}
    flagged = tuple(sorted((x for x in costs if costs[x] > chosen.search.gamma), key=lambda x: -costs[x]))
    if not flagged:
        return PaperScheme(base, (), None, 0, 0, 0.0, 0.0)
    part = trials.on(trials.speech.draw(UTTERANCES, chosen.data.seed))
    before = trials.cost.multiplications, trials.cost.seconds
    choices = [calibrated.same_p(flagged, p) for p in p_values(histograms, flagged, chosen)]
    candidates = [
        Candidate(f"paper, p {p[flagged[0]]:g}", calibrated.mixed(base, histograms, p, chosen)) for p in choices
    ]
    outcomes = part.run(candidates, "the paper's scheme: p", base=candidates[0].scheme)
    best = choose([Trial(p, *outcome.score.rank) for p, outcome in zip(choices, outcomes, strict=True)])
    return PaperScheme(
        calibrated.mixed(base, histograms, best.p, chosen),
        flagged,
        best.p[flagged[0]],
        len(choices),
        len(part.speech.utterances),
        (trials.cost.multiplications - before[0]) / evaluation,
        trials.cost.seconds - before[1],
    )
