"""The calibrator that minimises the mean squared quantisation error, rounding and clamping together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stablequant.grid.affine import Range, code_limits, params_from_range
from stablequant.grid.error import Side, sides

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from stablequant.grid.histogram import Histogram

# Candidates an octave in the first pass, and how each later pass divides the two intervals around the best so
# far. The last candidates are 0.3 % apart, where the error, flat around its minimum, differs by less than
# 1e-4 of itself.
_COARSE = 4
_REFINEMENTS = (4, 4, 4)


class _Grid(NamedTuple):
    error: float
    step: float
    below: int  # codes under zero
    above: int  # codes over zero


def _order(grid: _Grid) -> tuple[float, float]:
    """Sort by error, and of equal errors the larger range first."""
    return grid.error, -grid.step


def mse_range(histogram: Histogram, *, bits: int = 8, symmetric: bool = True) -> Range:
    """Return the range with the least mean squared quantisation error.

    Symmetric: the best amax up to the largest magnitude. Asymmetric: the best step, and for each step the
    best zero point; its ends lie on the grid, so that the plan's zero point is the one found, and may pass
    the data's by less than a step. Of equal ranges the larger is taken.

    Raises:
        DataError: The histogram is empty.
    """
    return least_error_range(*sides(histogram.nonempty()), bits=bits, symmetric=symmetric)


def least_error_range(negative: Side, positive: Side, *, bits: int, symmetric: bool) -> Range:
    """Return the range with the least squared error on two sides of magnitudes.

    The search starts from the whole range and goes down; it stops where clamping alone costs more than the
    best grid so far, as it only grows from there: the minimum cannot be missed below.
    """
    qmin, qmax = code_limits(bits)
    whole = Range(-negative.end, positive.end)
    if whole.amax == 0.0:
        return whole
    start = params_from_range(whole, bits=bits, symmetric=symmetric)
    top = whole.amax / qmax if symmetric else (whole.high - whole.low) / (qmax - qmin)
    codes = np.array([qmax]) if symmetric else np.arange(qmax - qmin + 1)
    first = np.array([qmax - start.zero_point])

    def best_of(step: float, above: NDArray[np.integer]) -> tuple[_Grid, float]:
        """Return the best grid with this step, and the least clamping error of any such."""
        below = np.full_like(above, -qmin) if symmetric else qmax - qmin - above
        lower, upper = negative.error(step, below), positive.error(step, above)
        error = lower[0] + upper[0]
        i = int(error.argmin())
        return _Grid(float(error[i]), step, int(below[i]), int(above[i])), float((lower[1] + upper[1]).min())

    def keep_best(best: _Grid, steps: Iterable[float]) -> _Grid:
        for step in steps:
            if step < top:
                grid, _ = best_of(step, codes)
                best = min(best, grid, key=_order)
        return best

    best, clamping = best_of(top, first)
    ratio = 2.0 ** (-1 / _COARSE)
    step = top
    while clamping < best.error and step > top * 2.0**-64:
        step *= ratio
        grid, clamping = best_of(step, codes)
        best = min(best, grid, key=_order)
    for parts in _REFINEMENTS:
        best = keep_best(best, (best.step * ratio ** (i / parts) for i in range(1 - parts, parts) if i))
        ratio **= 1 / parts
    if best.step == top:
        return Range(-whole.amax, whole.amax) if symmetric else whole
    if symmetric:
        return Range(-best.step * qmax, best.step * qmax)
    return Range(-best.step * best.below, best.step * best.above)
