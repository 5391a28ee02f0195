"""What the two stages ask of a strategy: to evaluate everything on all speech, or only on as much as decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stablequant.observe.collect import Histograms
from stablequant.search.stage1 import DRAWS, Sensitivity
from stablequant.search.trials import Candidate, Outcome
from stablequant.tasks.bootstrap import paired_bootstrap


@dataclass(frozen=True)
class Judged:
    """What a strategy found of a candidate.

    Attributes:
        rate: Of its score; a forecast where ``share`` is below 1.
        tie_break: Errors of a finer measure, of what was evaluated.
        share: Of the dev speech that it was evaluated on.
        interval: 95 % interval of the rate, that of its difference to float added to float's rate, so that what is hard for
            both does not widen it; ``None`` for a forecast.
    """

    rate: float
    tie_break: float
    share: float = 1.0
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, reference: Outcome, outcome: Outcome) -> Judged:
        """A candidate that was evaluated on all speech, as ``reference`` was, the float model."""
        found = paired_bootstrap(reference.score, outcome.score, draws=DRAWS)
        rate, tie_break = outcome.score.rank
        base = reference.score.rate
        return cls(rate, tie_break, interval=(base + found.low, base + found.high))


class Strategy(Protocol):
    """Evaluates layers and candidates on the dev speech."""

    def sensitivity(self, histograms: Histograms) -> list[Sensitivity]:
        """What each layer costs when it alone is quantised, in network order."""

    def compare(self, candidates: Sequence[Candidate], title: str) -> list[Judged]:
        """Rates of whole quantised models; at least one is evaluated on all speech, and none that is not is better."""
