"""Every layer and every value of p hears all dev speech, as the paper has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stablequant.observe.collect import Histograms
from stablequant.search.stage1 import Sensitivity, alone, judge
from stablequant.search.strategy import Standing
from stablequant.search.trials import Candidate, Outcome, Trials
from stablequant.settings import Settings


@dataclass(frozen=True)
class Exact:
    """A contest in which nothing is guessed; see `search.contest.Contest`.

    Attributes:
        trials: On the dev speech.
        reference: Float on it.
        settings: Name gamma and what flags a layer.
    """

    trials: Trials
    reference: Outcome
    settings: Settings

    def sensitivity(self, histograms: Histograms) -> list[Sensitivity]:
        """Measure every layer against float."""
        candidates = alone(histograms, self.settings)
        drafts = self.reference.transcripts
        outcomes = self.trials.run(candidates, "stage 1: one layer at a time", drafts=drafts)
        return [judge(self.reference, outcome, self.settings) for outcome in outcomes]

    def compare(self, candidates: Sequence[Candidate], title: str) -> list[Standing]:
        """Error rates of every candidate."""
        outcomes = self.trials.run(candidates, title, base=candidates[0].scheme)
        return [Standing(o.result.wer, o.result.cer) for o in outcomes]
