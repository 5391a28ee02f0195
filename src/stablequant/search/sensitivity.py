"""Stage 1: quantise one layer at a time, naively, and see what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from stablequant.config import Settings
from stablequant.observe.collect import Histograms
from stablequant.search import schemes
from stablequant.search.trials import Candidate, Outcome, Trials


@dataclass(frozen=True)
class Sensitivity:
    """What one layer alone costs.

    Attributes:
        name: The layer.
        wer: Of the model with this layer alone quantised, in per cent.
        delta: Points above float.
        flagged: Whether that is more than gamma.
    """

    name: str
    wer: float
    delta: float
    flagged: bool


def sensitivity(trials: Trials, reference: Outcome, histograms: Histograms, settings: Settings) -> list[Sensitivity]:
    """Measure every layer of ``histograms`` against the float ``reference`` (StableQuant, section on layer selection).

    Returns:
        One entry a layer, in network order; flagged where the layer costs more than ``settings.gamma`` points.
    """
    candidates = [
        Candidate(name, {name: schemes.layer(histograms, name, settings.stage1_calibrator, settings)})
        for name in histograms
    ]
    outcomes = trials.run(candidates, "stage 1: one layer at a time", drafts=reference.transcripts)
    deltas = [outcome.result.wer - reference.result.wer for outcome in outcomes]
    return [
        Sensitivity(o.candidate.label, o.result.wer, delta, delta > settings.gamma)
        for o, delta in zip(outcomes, deltas, strict=True)
    ]
