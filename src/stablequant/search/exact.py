"""Every layer and every value of p is evaluated on all dev speech, as the paper has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stablequant.observe.collect import Histograms
from stablequant.search.stage1 import Sensitivity, alone, judge
from stablequant.search.strategy import Judged
from stablequant.search.trials import Candidate, Outcome, Trials


@dataclass(frozen=True)
class Exact:
    """A strategy in which nothing is guessed; see `search.strategy.Strategy`.

    Attributes:
        trials: On the dev speech.
        reference: Float on it.
    """

    trials: Trials
    reference: Outcome

    def sensitivity(self, histograms: Histograms) -> list[Sensitivity]:
        """Measure every layer against float."""
        candidates = alone(histograms, self.trials.settings)
        outcomes = self.trials.run(candidates, "stage 1: one layer at a time", reference=self.reference.readings)
        return [judge(self.reference, outcome, self.trials) for outcome in outcomes]

    def compare(self, candidates: Sequence[Candidate], title: str) -> list[Judged]:
        """Rates of every candidate."""
        outcomes = self.trials.run(candidates, title, base=candidates[0].scheme)
        return [Judged.of(self.reference, o) for o in outcomes]
