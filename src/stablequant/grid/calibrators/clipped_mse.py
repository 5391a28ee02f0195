"""The paper's calibrator (StableQuant, arXiv 2504.14915, stage 2): remove outliers, then minimise error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablequant.errors import SettingsError
from stablequant.grid.calibrators.mse import least_error_range
from stablequant.grid.error import sides

if TYPE_CHECKING:
    from stablequant.grid.affine import Range
    from stablequant.grid.histogram import Histogram

REMOVED = ("drop", "fold")


def clipped_mse_range(
    histogram: Histogram, *, bits: int = 8, symmetric: bool = True, p: float = 0.0, removed: str = "drop"
) -> Range:
    """Return the range with the least squared error once the largest magnitudes are removed.

    Args:
        histogram: The activations.
        bits: Width of a code.
        symmetric: Whether the zero point is fixed at 0. If not, outliers are still the largest magnitudes: of
            a skewed tensor (after GELU) only the long side is cut.
        p: Percent of the mass to remove, above the (100 - p)th percentile of the magnitudes; 0 is plain
            ``mse``. The range of a symmetric grid never passes that cut-off; an asymmetric one by less than a
            step.
        removed: What becomes of that mass, which the paper leaves open: "drop" forgets it, "fold" piles it on
            the cut-off, where it argues for a wide range.

    Raises:
        DataError: The histogram is empty.
        SettingsError: ``p`` is not in 0 <= p < 100, or ``removed`` is unknown.
    """
    if not 0.0 <= p < 100.0:
        what = f"p={p} percent of the mass cannot be removed"
        raise SettingsError(what, expected="0 <= p < 100; the paper searches 0 to 0.5")
    if removed not in REMOVED:
        what = f"removed={removed!r} is unknown"
        raise SettingsError(what, expected=" or ".join(REMOVED))
    cut = histogram.percentile_abs(100.0 - p)
    kept = sides(histogram.nonempty(), cut, fold=removed == "fold")
    return least_error_range(*kept, bits=bits, symmetric=symmetric)
