"""Could it be chance? Permutation tests of a figure that every token or word of some utterances has.

Labels are shuffled within utterances alone, so that what a whole utterance has in common, a noisy recording or a fast speaker,
proves nothing (Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses, section 3.7).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHUFFLES = 2_000


@dataclass(frozen=True)
class Permuted:
    """What came of it.

    Attributes:
        statistic: As found.
        p: Share of shuffles with as large a statistic, the found one counted as one of them.
        shuffles: How many there were.
    """

    statistic: float
    p: float
    shuffles: int


def higher_where(
    values: NDArray[np.floating], marked: NDArray[np.bool_], utterance: NDArray[np.integer], *, shuffles: int = SHUFFLES
) -> Permuted:
    """Whether ``values`` ``[n]`` are higher where they are ``marked`` than elsewhere in the same ``utterance``, one-sided.

    The statistic is the mean excess of marked values over their utterance's mean.
    """
    count = max(1, int(marked.sum()))
    return _test(values, utterance, lambda left: float(left[marked].sum()) / count, shuffles)


def uneven_over(
    values: NDArray[np.floating], kind: NDArray[np.integer], utterance: NDArray[np.integer], *, shuffles: int = SHUFFLES
) -> Permuted:
    """Whether ``values`` ``[n]`` differ between kinds ``0..k`` of what they belong to.

    The statistic is the sum of squares between kinds, of what is left of each value without its utterance's mean.
    """
    sizes = np.maximum(np.bincount(kind), 1)

    def between(left: NDArray[np.float64]) -> float:
        return float((np.bincount(kind, left, minlength=len(sizes)) ** 2 / sizes).sum())

    return _test(values, utterance, between, shuffles)


def _test(
    values: NDArray[Any], utterance: NDArray[Any], statistic: Callable[[NDArray[np.float64]], float], shuffles: int
) -> Permuted:
    groups = np.unique(utterance, return_inverse=True)[1]
    means = np.bincount(groups, values) / np.maximum(np.bincount(groups), 1)
    left = values - means[groups]
    found = statistic(left)
    rng = np.random.default_rng(0)
    order = np.argsort(groups, kind="stable")
    shuffled, reached = np.empty_like(left), 1
    for _ in range(shuffles):
        # Sorted by utterance, and within it at random.
        shuffled[order] = left[np.lexsort((rng.random(len(left)), groups))]
        # Sums in another order differ in the last bits.
        reached += statistic(shuffled) >= found - 1e-12 * max(1.0, abs(found))
    return Permuted(found, reached / (shuffles + 1), shuffles)
