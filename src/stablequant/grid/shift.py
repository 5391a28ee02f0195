"""How far one sample of an activation is from another: pure functions on the counts of shared bins.

Counts and shares are ``[..., n]``, one row a sample: a bootstrap compares thousands of samples at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating]

#: Share of the reference's values in a group of bins at least: the population stability index is used with 10 to 20 groups.
GROUP = 0.05
#: Smallest share that the index counts with; the logarithm of an empty group would be infinite.
FLOOR = 1e-4


def beyond(counts: Array, low: Array, high: Array, least: Array | float, most: Array | float) -> NDArray[np.float64]:
    """Share of values below ``least`` or above ``most``, with the mass of a bin uniform inside it.

    Args:
        counts: Of the bins ``[..., n]``.
        low: Lower ends of the bins ``[n]``.
        high: Upper ends of the bins ``[n]``.
        least: Lower end of what is covered, one for all samples or ``[...]``.
        most: Upper end, likewise.
    """
    width = np.maximum(high - low, np.finfo(np.float32).tiny)
    under = np.clip((np.asarray(least)[..., None] - low) / width, 0.0, 1.0)
    over = np.clip((high - np.asarray(most)[..., None]) / width, 0.0, 1.0)
    outside: NDArray[np.float64] = np.sum(counts * (under + over), axis=-1) / np.maximum(np.sum(counts, axis=-1), 1)
    return outside


def wasserstein(shares: Array, reference: Array, centres: Array) -> NDArray[np.float64]:
    """Wasserstein distance of order 1: the integral of ``|F - G|`` of the distribution functions, mass at the bins' centres.

    ``sum_i |F(c_i) - G(c_i)| (c_(i+1) - c_i)`` (Vallender 1974), as `scipy.stats.wasserstein_distance` has it of two samples.
    """
    between = np.abs(np.cumsum(shares - reference, axis=-1)[..., :-1])
    distance: NDArray[np.float64] = between @ np.diff(centres)
    return distance


def groups(shares: Array) -> NDArray[np.int64]:
    """First bins of neighbours that together have at least `GROUP` of a reference's values ``[n]`` each."""
    starts, held = [0], 0.0
    for index, share in enumerate(shares):
        if held >= GROUP:
            starts.append(index)
            held = 0.0
        held += float(share)
    if held < GROUP and len(starts) > 1:
        starts.pop()
    return np.array(starts)


def stability_index(shares: Array, reference: Array, starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Population stability index: ``sum_g (p_g - q_g) ln(p_g / q_g)`` over groups of bins that begin at ``starts``.

    It is Jeffreys' divergence, symmetric in the two samples (Siddiqi 2006, Credit Risk Scorecards, where 0.1 and 0.25 are
    the usual rules of thumb for a small and a large shift).
    """
    p = np.maximum(np.add.reduceat(shares, starts, axis=-1), FLOOR)
    q = np.maximum(np.add.reduceat(reference, starts, axis=-1), FLOOR)
    index: NDArray[np.float64] = np.sum((p - q) * np.log(p / q), axis=-1)
    return index
