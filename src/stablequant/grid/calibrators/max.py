"""The naive calibrator: cover everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablequant.grid.affine import Range

if TYPE_CHECKING:
    from stablequant.grid.histogram import Histogram


def max_range(histogram: Histogram, *, bits: int = 8, symmetric: bool = True) -> Range:
    """Return the exact ends of the data; ``bits`` and ``symmetric`` make no difference.

    Raises:
        DataError: The histogram is empty.
    """
    histogram.require_data()
    return Range(histogram.minimum, histogram.maximum)
