"""The entropy calibrator: the amax whose quantised distribution diverges least from the data's.

The method of TensorRT (S. Migacz, "8-bit Inference with TensorRT", GTC 2017): on linear bins of the
magnitudes, for each place to cut, the reference P is the bins below with all the mass above piled on the
last; Q is the same bins without that mass, averaged over the non-empty bins that share a code; the cut with
the least KL(P || Q) wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stablequant.errors import SettingsError
from stablequant.grid.affine import Range, code_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stablequant.grid.histogram import Bins, Histogram

    Array = NDArray[np.float64]

# What Q holds, in values, where only P has mass: a cut in the gap before outliers. Without it the divergence
# there has no bound, and the one cut left would be to keep everything. The value is that of MXNet and ONNX
# Runtime.
_SMOOTH = 1e-4


def entropy_range(histogram: Histogram, *, bits: int = 8, symmetric: bool = True, linear_bins: int = 2048) -> Range:
    """Return the range that keeps the most information.

    Symmetric: the best amax. Asymmetric: the same amax, but no farther on either side than the data go.

    Args:
        histogram: The activations.
        bits: Width of a code.
        symmetric: Whether the zero point is fixed at 0.
        linear_bins: Bins of equal width between zero and the largest magnitude, in which the cut is sought.

    Raises:
        DataError: The histogram is empty.
        SettingsError: There are fewer bins than codes.
    """
    codes = code_limits(bits)[1] + 1
    if linear_bins < codes:
        what = f"linear_bins={linear_bins} is too few for {bits} bits"
        raise SettingsError(what, expected=f"at least {codes}")
    counts = _linear(histogram.absolute(), linear_bins)
    whole = Range(histogram.minimum, histogram.maximum)
    if whole.amax == 0.0:
        return whole
    # Exact zeros, plentiful after ReLU, are free on any grid; left in, they would drown the rest.
    counts[0] = counts[1]
    divergence = _divergences(counts, codes)
    last = len(divergence) - 1 - int(divergence[::-1].argmin())  # of equal cuts the larger
    amax = whole.amax * ((codes + last) / linear_bins)
    return Range(-amax, amax) if symmetric else Range(max(whole.low, -amax), min(whole.high, amax))


def _linear(bins: Bins, n: int) -> Array:
    """Spread ascending bins of magnitudes over ``n`` of equal width from zero to their end."""
    knots = np.stack((bins.low, bins.high), axis=1).reshape(-1)
    below = np.cumsum(bins.counts)
    mass = np.stack((below - bins.counts, below), axis=1).reshape(-1)
    return np.diff(np.interp(np.linspace(0.0, bins.high[-1], n + 1), knots, mass, left=0.0))


def _divergences(counts: Array, codes: int) -> Array:
    """Return KL(P || Q) for a cut after each of ``codes``..n bins, all at once from running sums."""
    n = len(counts)
    cuts = np.arange(codes, n + 1)
    used = counts > 0
    mass, cells, entropy = (np.concatenate(([0], np.cumsum(part))) for part in (counts, used, _xlogx(counts)))
    # Bin j of a cut after i bins has code floor(j * codes / i): edges[i, code] is the first bin of each code.
    edges = -(-np.arange(codes + 1) * cuts[:, None] // codes)
    group = np.diff(mass[edges], axis=1)
    level = np.log(group / np.maximum(np.diff(cells[edges], axis=1), 1), where=group > 0, out=np.zeros_like(group))
    outliers, final = mass[n] - mass[cuts], counts[cuts - 1]
    reference = entropy[cuts - 1] + _xlogx(final + outliers)
    quantized = (group * level).sum(axis=1) + outliers * np.where(final > 0, level[:, -1], np.log(_SMOOTH))
    kept = np.log(np.maximum(mass[cuts], 1e-300))
    divergence: Array = (reference - quantized) / mass[n] - np.log(mass[n]) + kept
    return divergence


def _xlogx(x: Array) -> Array:
    return x * np.log(x, where=x > 0, out=np.zeros_like(x))
