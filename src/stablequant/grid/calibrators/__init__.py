"""Calibration: from a histogram of activations to a grid. Pure functions, one a file.

A calibrator takes a histogram, ``bits``, ``symmetric`` and options of its own, and returns a `Range`. To add
one, write its file and name it in `CALIBRATORS`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from stablequant.errors import SettingsError
from stablequant.grid.affine import params_from_range
from stablequant.grid.calibrators.clipped_mse import clipped_mse_range
from stablequant.grid.calibrators.entropy import entropy_range
from stablequant.grid.calibrators.max import max_range
from stablequant.grid.calibrators.mse import mse_range
from stablequant.grid.calibrators.percentile import percentile_range

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stablequant.grid.affine import QuantParams, Range
    from stablequant.grid.histogram import Histogram

CALIBRATORS: Mapping[str, Callable[..., Range]] = {
    "max": max_range,
    "percentile": percentile_range,
    "mse": mse_range,
    "entropy": entropy_range,
    "clipped_mse": clipped_mse_range,
}

__all__ = ["CALIBRATORS", "calibrate"]


def calibrate(name: str, histogram: Histogram, bits: int = 8, symmetric: bool = True, **options: Any) -> QuantParams:
    """Return the grid that a named calibrator chooses for the values of a histogram.

    Args:
        name: One of `CALIBRATORS`.
        histogram: The activations.
        bits: Width of a code.
        symmetric: Whether the zero point is fixed at 0.
        options: The calibrator's own, such as ``p`` of clipped_mse.

    Raises:
        SettingsError: The name or an option is unknown, or an option has an impossible value.
        DataError: The histogram is empty.
    """
    if name not in CALIBRATORS:
        what = f"calibrator {name!r} is unknown"
        raise SettingsError(what, expected=f"one of {', '.join(CALIBRATORS)}")
    function = CALIBRATORS[name]
    known = [
        option for option in inspect.signature(function).parameters if option not in ("histogram", "bits", "symmetric")
    ]
    if unknown := sorted(set(options) - set(known)):
        what = f"calibrator {name!r} has no option {', '.join(unknown)}"
        raise SettingsError(what, expected=f"only {', '.join(known)}" if known else "no options")
    chosen = function(histogram, bits=bits, symmetric=symmetric, **options)
    return params_from_range(chosen, bits=bits, symmetric=symmetric)
