"""What the two stages ask of whoever evaluates candidates: everything of everyone, or only as much as decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stablequant.observe.collect import Histograms
from stablequant.search.stage1 import Sensitivity
from stablequant.search.trials import Candidate


@dataclass(frozen=True)
class Standing:
    """Where a candidate came to stand.

    Attributes:
        wer: In per cent; a forecast where ``heard`` is below 1.
        cer: In per cent, of what was heard.
        heard: Share of the dev speech.
    """

    wer: float
    cer: float
    heard: float = 1.0


class Contest(Protocol):
    """Evaluates layers and candidates on the dev speech."""

    def sensitivity(self, histograms: Histograms) -> list[Sensitivity]:
        """What each layer costs when it alone is quantised, in network order."""

    def compare(self, candidates: Sequence[Candidate], title: str) -> list[Standing]:
        """Error rates of whole quantised models; at least one hears all speech, and none that does not is better."""
