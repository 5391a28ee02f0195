"""Stage 1: quantise one layer at a time, naively, and see what it costs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from stablequant.config import Settings
from stablequant.evaluate.significance import paired_bootstrap
from stablequant.observe.collect import Histograms
from stablequant.search import schemes
from stablequant.search.trials import Candidate, Outcome, Trials

#: Draws of the bootstrap behind each layer's interval: enough to place its ends to a tenth of its width.
DRAWS = 2000


@dataclass(frozen=True)
class Sensitivity:
    """What one layer alone costs.

    Attributes:
        name: The layer.
        wer: Of the model with this layer alone quantised, in per cent.
        delta: Points above float.
        flagged: Whether that is more than gamma and, with the setting ``beyond_chance``, more than chance.
        interval: 95 % interval of ``delta`` by paired bootstrap over utterances; ``None`` where it was not measured.
    """

    name: str
    wer: float
    delta: float
    flagged: bool
    interval: tuple[float, float] | None = None


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
    return [_judge(reference, outcome, settings) for outcome in outcomes]


def resolution(layers: Sequence[Sensitivity]) -> float | None:
    """Points of WER that the dev speech tells from chance: half the interval of a typical layer's cost."""
    halves = [(layer.interval[1] - layer.interval[0]) / 2 for layer in layers if layer.interval]
    return statistics.median(halves) if halves else None


def _judge(reference: Outcome, outcome: Outcome, settings: Settings) -> Sensitivity:
    cost = paired_bootstrap(reference.result, outcome.result, draws=DRAWS)
    flagged = cost.delta > settings.gamma and (not settings.beyond_chance or cost.low > 0)
    return Sensitivity(outcome.candidate.label, outcome.result.wer, cost.delta, flagged, (cost.low, cost.high))
