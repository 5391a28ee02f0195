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
from stablequant.tasks.asr import EvaluationResult

_CHUNK = 2_000_000  # draws x utterances held at a time: 16 MB an array


@dataclass(frozen=True)
class Interval:
    """A word error rate and its percentile interval, in per cent, with what it was made from."""

    wer: float
    low: float
    high: float
    level: float
    draws: int
    utterances: int
    words: int


@dataclass(frozen=True)
class Difference:
    """A difference of word error rates (other - baseline) and its percentile interval, in points."""

    delta: float
    low: float
    high: float
    level: float
    draws: int
    utterances: int
    words: int


def bootstrap(result: EvaluationResult, draws: int = 10_000, seed: int = 0, level: float = 0.95) -> Interval:
    """Return the word error rate with its interval.

    Raises:
        SettingsError: If ``draws`` or ``level`` makes no interval.
    """
    low, high = _interval(result.edits, result.words, draws, seed, level)
    return Interval(result.wer, low, high, level, draws, len(result.ids), result.total_words)


def paired_bootstrap(
    baseline: EvaluationResult,
    other: EvaluationResult,
    draws: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Return by how much ``other`` errs more than ``baseline`` on the same utterances, with its interval.

    Raises:
        DataError: If the two were not measured on the same utterances in the same order with one normaliser.
        SettingsError: If ``draws`` or ``level`` makes no interval.
    """
    for field in ("ids", "references", "normalizer"):
        if getattr(baseline, field) != getattr(other, field):
            what = f"The two results differ in their {field}"
            raise DataError(what, expected="the same utterances, in the same order, with one normaliser")
    edits = [b - a for a, b in zip(baseline.edits, other.edits, strict=True)]
    low, high = _interval(edits, baseline.words, draws, seed, level)
    delta = 100 * sum(edits) / baseline.total_words
    return Difference(delta, low, high, level, draws, len(baseline.ids), baseline.total_words)


def _interval(
    edits: tuple[int, ...] | list[int], words: tuple[int, ...], draws: int, seed: int, level: float
) -> tuple[float, float]:
    """Return the percentile interval of 100 * sum(edits) / sum(words) over draws with replacement."""
    if draws < 1 or not 0 < level < 1:
        what = f"draws is {draws} and level is {level}"
        raise SettingsError(what, expected="at least 1 draw and a level between 0 and 1")
    rates = np.concatenate(list(_rates(np.asarray(edits), np.asarray(words), draws, seed)))
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _rates(edits: NDArray[np.int_], words: NDArray[np.int_], draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield the rate of each draw, in chunks of bounded memory."""
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // len(words))
    for start in range(0, draws, step):
        picks = rng.integers(len(words), size=(min(step, draws - start), len(words)))
        # A draw of nothing but wordless references has no rate; counting one word keeps it finite.
        yield 100 * edits[picks].sum(axis=1) / np.maximum(words[picks].sum(axis=1), 1)
