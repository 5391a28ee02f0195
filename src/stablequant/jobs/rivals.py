"""What a plan is set beside: whole-model methods and the paper's scheme, on the checkpoint as it is, with the nearest weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stablequant.data.speech import Speech
from stablequant.jobs.evidence import BASELINES, PAPER
from stablequant.observe.collect import Histograms
from stablequant.quantize import calibrated
from stablequant.search.objective import Divergence, Objective
from stablequant.search.paper_scheme import PaperScheme, naive_costs, paper_scheme
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings

#: Makes trials on some speech, by an objective.
TrialsOn = Callable[[Speech, Objective], Trials]


@dataclass(frozen=True)
class Rivals:
    """The checkpoint before anything of ours was done to it.

    Attributes:
        trials: Of it.
        histograms: Of its activations.
        settings: Of the run, without a fold and with the nearest weights.
    """

    trials: TrialsOn
    histograms: Histograms
    settings: Settings

    @classmethod
    def of(cls, trials: TrialsOn, histograms: Histograms, settings: Settings) -> Rivals:
        """From the settings of the run."""
        plain = {"weights.fold": "none", "weights.rounding": "nearest", "weights.correct_bias": False}
        return cls(trials, histograms, settings.updated(**plain))

    def paper(self, dev: Speech, evaluation: int) -> PaperScheme:
        """The paper's scheme, found on the dev speech; ``evaluation``: multiplications of the float model's answers to it."""
        trials = self.trials(dev, Divergence())
        naive = naive_costs(trials, self.histograms, self.settings)
        return paper_scheme(trials, self.histograms, naive, self.settings, evaluation)

    def candidates(self, paper: PaperScheme | None) -> list[Candidate]:
        """The baselines, and the paper's scheme where it is not the one that was searched."""
        found = [Candidate(name, calibrated.uniform(self.histograms, name, self.settings)) for name in BASELINES]
        return [*found, Candidate(PAPER, paper.scheme)] if paper else found
