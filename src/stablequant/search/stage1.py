"""Stage 1: quantise one layer at a time, naively, and judge what it costs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from stablequant.observe.collect import Histograms
from stablequant.quantize import calibrated
from stablequant.search.trials import Candidate, Outcome, Trials
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import paired_bootstrap

#: Draws of the bootstrap behind each layer's interval: enough to place its ends to a tenth of its width.
DRAWS = 2000


@dataclass(frozen=True)
class Sensitivity:
    """What one layer alone costs.

    Attributes:
        name: The layer.
        rate: Of the model with this layer alone quantised.
        delta: Points above float.
        flagged: Whether that is more than gamma and, with the setting ``beyond_chance``, more than chance.
        interval: 95 % interval of ``delta`` by paired bootstrap over utterances; ``None`` where it was not measured.
        share: Of the dev speech that settled it; below 1 in a race, where the rest is a forecast.
    """

    name: str
    rate: float
    delta: float
    flagged: bool
    interval: tuple[float, float] | None = None
    share: float = 1.0


def alone(histograms: Histograms, settings: Settings) -> list[Candidate]:
    """Each layer of ``histograms`` quantised naively, all others in float, in network order."""
    return [
        Candidate(name, {name: calibrated.layer(histograms, name, settings.search.stage1_calibrator, settings)})
        for name in histograms
    ]


def resolution(layers: Sequence[Sensitivity]) -> float | None:
    """Points that the dev speech tells from chance: half the interval of a typical layer's cost."""
    halves = [(layer.interval[1] - layer.interval[0]) / 2 for layer in layers if layer.interval]
    return statistics.median(halves) if halves else None


def judge(reference: Outcome, outcome: Outcome, trials: Trials) -> Sensitivity:
    """The verdict on a layer that was evaluated on all dev speech (StableQuant, section on layer selection)."""
    chosen, points = trials.settings.search, trials.objective.points
    cost = paired_bootstrap(reference.score, outcome.score, draws=DRAWS)
    delta, low, high = (points * value for value in (cost.delta, cost.low, cost.high))
    flagged = delta > chosen.gamma and (not chosen.beyond_chance or low > 0)
    return Sensitivity(outcome.candidate.label, outcome.score.rate, delta, flagged, (low, high))
