"""A score: a rate as a ratio of sums over utterances. All that a search knows of how good a model is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stablequant.errors import DataError


@dataclass(frozen=True)
class Score:
    """How much a model errs on some speech; all tuples have one entry an utterance, in the same order. Lower is better.

    Attributes:
        metric: What is counted: "WER", "CER", "error rate", "KL".
        ids: Of the utterances.
        errors: Errors in each: edits, 0 or 1, nats.
        units: What they are counted in: words, 1, frames.
        tie_break: Errors of a finer measure, which decides between equal rates; empty: there is none.
        grain: The smallest change of one utterance's errors.
        factor: Of the rate: 100 for per cent.

    Raises:
        DataError: The tuples differ in length, or there is nothing to count.
    """

    metric: str
    ids: tuple[str, ...]
    errors: tuple[float, ...]
    units: tuple[float, ...]
    tie_break: tuple[float, ...] = ()
    grain: float = 1.0
    factor: float = 100.0

    def __post_init__(self) -> None:
        """Hold that the counts belong together and that a rate exists."""
        lengths = {len(self.ids), len(self.errors), len(self.units), len(self.tie_break) or len(self.ids)}
        if len(lengths) > 1:
            what = f"the parts of a score differ in length: {sorted(lengths)}"
            raise DataError(what, expected="one entry an utterance in each")
        if not sum(self.units):
            what = f"{len(self.ids)} utterances have nothing that {self.metric} counts"
            raise DataError(what, expected="speech with something to count")

    @property
    def rate(self) -> float:
        """All errors over all units, times ``factor``: in points where that is 100."""
        return self.factor * sum(self.errors) / self.total

    def part(self, indices: Sequence[int]) -> Score:
        """Of the utterances ``indices`` alone."""
        return replace(
            self,
            ids=tuple(self.ids[i] for i in indices),
            errors=tuple(self.errors[i] for i in indices),
            units=tuple(self.units[i] for i in indices),
            tie_break=tuple(self.tie_break[i] for i in indices) if self.tie_break else (),
        )

    @property
    def total(self) -> float:
        """Units in all utterances."""
        return sum(self.units)

    @property
    def rank(self) -> tuple[float, float]:
        """Sorts scores on the same speech from better to worse."""
        return self.rate, sum(self.tie_break)
