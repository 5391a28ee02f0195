"""The mean squared error of a quantisation grid on a histogram, in closed form.

With the mass of a bin uniform inside it, the error of rounding needs no sampling. In steps, u = x / step, and
with r = clip(round(u), 0, k) on a grid of codes 0..k,

    F(u) = r / 12 + (u - r)^3 / 3

is continuous and its derivative is (u - r)^2: the integral of the squared error over a bin is a difference of
two F, however many steps the bin spans. The two signs are kept as two sides of magnitudes, each with its own
last code k, so that one function serves symmetric grids, asymmetric ones, and -128 beside 127.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stablequant.grid.affine import QuantParams
    from stablequant.grid.histogram import Bins, Histogram

    Array = NDArray[np.float64]

# A bin cut down to a point gets this relative width: wide enough for a difference of two F, too narrow to
# matter.
_POINT = 1e-6


@dataclass(frozen=True)
class Side:
    """Magnitudes of one sign, as adjoining intervals of uniform density that begin at zero.

    Attributes:
        end: The largest magnitude; 0 for a side without mass.
        edges: Ends of the intervals, ascending from 0 [n + 1].
        density: Mass per unit of width, 0 in a gap [n].
        below: Integral of x^2 over all intervals before each [n].
        above: Mass, integral of x and integral of x^2 over all intervals after each [3, n].
    """

    end: float
    edges: Array
    density: Array
    below: Array
    above: Array

    @classmethod
    def from_bins(cls, low: Array, high: Array, counts: Array) -> Side:
        """Take ascending disjoint bins of magnitudes; mass at zero is exact on any grid, and left out."""
        keep = (high > 0) & (counts > 0)
        low, high, counts = low[keep], high[keep], counts[keep]
        if not len(high):
            return cls(0.0, np.array([0.0, 1.0]), np.zeros(1), np.zeros(1), np.zeros((3, 1)))
        end = float(high[-1])
        # Only outermost bins can be points. The first is widened away from the others, the last likewise.
        low[0] = min(low[0], high[0] * (1 - _POINT))
        high = np.maximum(high, low * (1 + _POINT))
        ends = np.maximum.accumulate(np.stack((low, high), axis=1).reshape(-1))
        edges, mass = np.concatenate(([0.0], ends)), np.zeros(len(ends))
        mass[1::2] = counts
        real = np.diff(edges) > 0
        edges, mass = np.concatenate(([0.0], ends[real])), mass[real]

        a, b = edges[:-1], edges[1:]
        moments = mass * np.stack((np.ones_like(a), (a + b) / 2, (a * a + a * b + b * b) / 3))
        above = np.zeros_like(moments)
        above[:, :-1] = np.cumsum(moments[:, :0:-1], axis=1)[:, ::-1]
        below = np.concatenate(([0.0], np.cumsum(moments[2, :-1])))
        return cls(end, edges, mass / (b - a), below, above)

    def error(self, step: float, last: NDArray[np.integer]) -> tuple[Array, Array]:
        """Return the summed squared error of the grids ``step * (0..last)``.

        Args:
            step: Width of a step in real units.
            last: Last codes of the grids [m].

        Returns:
            The whole error, and the part of it that clamping makes, on magnitudes beyond the last code; [m]
            each.
        """
        reach = last * step
        # The interval in which each grid ends. Below half a step all rounds to zero, and `below` has that
        # error.
        at = np.minimum(np.searchsorted(self.edges, reach, side="right"), len(self.density)) - 1
        start = int(np.searchsorted(self.edges[:-1], step / 2)) - 1
        stop = max(int(at.max()), start) + 1
        integral = _integral(self.edges[start : stop + 1] / step)
        density = self.density[start:stop] * step**3
        before = self.below[start] + np.concatenate(([0.0], np.cumsum(density * np.diff(integral))))
        inside = np.maximum(at - start, 0)
        # F never falls, so the smaller of two F is F at the smaller of their places; at a whole u it is u /
        # 12.
        final = np.minimum(integral[inside + 1], last / 12)
        rounding = np.where(last > 0, before[inside] + density[inside] * (final - integral[inside]), 0.0)

        mass, first, second = self.above[:, at]
        rest = np.maximum(self.edges[at + 1] - reach, 0.0)
        clamping = second - reach * (2 * first - reach * mass) + self.density[at] * rest**3 / 3
        return rounding + clamping, clamping


def sides(bins: Bins, cut: float = np.inf, *, fold: bool = False) -> tuple[Side, Side]:
    """Split bins by sign into magnitudes, without the mass beyond a cut-off.

    Args:
        bins: Signed bins, none of which spans zero.
        cut: Magnitude from which mass is removed; a bin that spans it keeps its share.
        fold: Pile the removed mass on the cut-off instead of dropping it.

    Returns:
        The negative and the positive side.
    """
    negative = bins.low < 0
    return (
        _side(-bins.high[negative][::-1], -bins.low[negative][::-1], bins.counts[negative][::-1], cut, fold),
        _side(bins.low[~negative], bins.high[~negative], bins.counts[~negative], cut, fold),
    )


def quantization_error(histogram: Histogram, params: QuantParams) -> float:
    """Return the mean squared error that a grid makes on the values of a histogram, in squared real units.

    Raises:
        DataError: The histogram is empty.
    """
    bins = histogram.nonempty()
    negative, positive = sides(bins)
    below, _ = negative.error(params.scale, np.array([params.zero_point - params.qmin]))
    above, _ = positive.error(params.scale, np.array([params.qmax - params.zero_point]))
    return float((below[0] + above[0]) / bins.counts.sum())


def _side(low: Array, high: Array, counts: Array, cut: float, fold: bool) -> Side:
    if not len(high) or high[-1] <= cut:
        return Side.from_bins(low, high, counts)
    width = np.maximum(high - low, high * _POINT)
    kept = counts * np.clip((cut - low) / width, 0.0, 1.0)
    high = np.minimum(high, cut)
    if fold:
        low, high, kept = (
            np.append(low, cut),
            np.append(high, cut),
            np.append(kept, counts.sum() - kept.sum()),
        )
    return Side.from_bins(low, high, kept)


def _integral(u: Array) -> Array:
    r = np.rint(u)
    d = u - r
    return r / 12 + d * d * d / 3
