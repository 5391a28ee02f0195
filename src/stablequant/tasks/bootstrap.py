"""How far an error rate, or the difference of two, could be chance.

Bootstrap over utterances (Bisani and Ney 2004, "Bootstrap estimates for confidence intervals in ASR
performance evaluation"): words of one utterance err together, so utterances are drawn, not words. In the
paired form both systems are scored on the same draw, which cancels what is hard for both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stablequant.errors import DataError, SettingsError
from stablequant.tasks.score import Score

_CHUNK = 2_000_000  # draws x utterances held at a time: 16 MB an array


@dataclass(frozen=True)
class Interval:
    """A rate and its percentile interval, with what it was made from."""

    rate: float
    low: float
    high: float
    level: float
    draws: int
    utterances: int
    units: float


@dataclass(frozen=True)
class Difference:
    """A difference of rates (other - baseline), in points, and its percentile interval."""

    delta: float
    low: float
    high: float
    level: float
    draws: int
    utterances: int
    units: float

    def __str__(self) -> str:
        """The difference with its interval, in words."""
        return f"{self.delta:+.2f} ({self.level:.0%} interval {self.low:+.2f} to {self.high:+.2f}, {self.utterances} utterances)"


def bootstrap(score: Score, draws: int = 10_000, seed: int = 0, level: float = 0.95) -> Interval:
    """Return the rate with its interval.

    Raises:
        SettingsError: If ``draws`` or ``level`` makes no interval.
    """
    low, high = _interval(score.errors, score, draws, seed, level)
    return Interval(score.rate, low, high, level, draws, len(score.ids), score.total)


def paired_bootstrap(
    baseline: Score, other: Score, draws: int = 10_000, seed: int = 0, level: float = 0.95
) -> Difference:
    """Return by how much ``other`` errs more than ``baseline`` on the same utterances, with its interval.

    Raises:
        DataError: If the two were not measured on the same utterances, in the same order, by the same count.
        SettingsError: If ``draws`` or ``level`` makes no interval.
    """
    for field in ("metric", "ids", "units"):
        if getattr(baseline, field) != getattr(other, field):
            what = f"The two scores differ in their {field}"
            raise DataError(what, expected="the same utterances, in the same order, counted alike")
    errors = tuple(b - a for a, b in zip(baseline.errors, other.errors, strict=True))
    low, high = _interval(errors, baseline, draws, seed, level)
    delta = baseline.factor * sum(errors) / baseline.total
    return Difference(delta, low, high, level, draws, len(baseline.ids), baseline.total)


def _interval(errors: tuple[float, ...], score: Score, draws: int, seed: int, level: float) -> tuple[float, float]:
    """Return the percentile interval of the rate of ``errors`` over draws with replacement."""
    if draws < 1 or not 0 < level < 1:
        what = f"draws is {draws} and level is {level}"
        raise SettingsError(what, expected="at least 1 draw and a level between 0 and 1")
    rates = np.concatenate(list(_rates(np.asarray(errors), np.asarray(score.units), score.factor, draws, seed)))
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _rates(
    errors: NDArray[np.number], units: NDArray[np.number], factor: float, draws: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    """Yield the rate of each draw, in chunks of bounded memory."""
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // len(units))
    least = min(1.0, float(units[units > 0].min()))
    for start in range(0, draws, step):
        picks = rng.integers(len(units), size=(min(step, draws - start), len(units)))
        # A draw of nothing but utterances without units has no rate; counting one keeps it finite.
        yield factor * errors[picks].sum(axis=1) / np.maximum(units[picks].sum(axis=1), least)
