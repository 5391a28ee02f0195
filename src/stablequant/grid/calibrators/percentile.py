"""The percentile calibrator: cover all but a fixed share of the mass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablequant.grid.affine import Range

if TYPE_CHECKING:
    from stablequant.grid.histogram import Histogram


def percentile_range(
    histogram: Histogram, *, bits: int = 8, symmetric: bool = True, percentile: float = 99.99
) -> Range:
    """Return the range that keeps ``percentile`` percent of the mass, whatever the bits.

    Symmetric: up to that percentile of the magnitudes. Asymmetric: half of the rest is cut off each end.

    Raises:
        DataError: The histogram is empty.
        SettingsError: ``percentile`` is not in 0..100.
    """
    if symmetric:
        amax = histogram.percentile_abs(percentile)
        return Range(-amax, amax)
    bins = histogram.nonempty()
    rest = 100.0 - percentile
    return Range(bins.percentile(rest / 2), bins.percentile(100.0 - rest / 2))
