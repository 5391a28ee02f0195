"""Calibrators: from a histogram of activations to the range that a grid is to cover. Pure functions, one a file.

A calibrator takes a histogram, ``bits``, ``symmetric`` and options of its own, and returns a `Range`. `calibrator`
registers one: in this package, or in the code of whoever tries out a new one.
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
    from collections.abc import Callable

    from stablequant.grid.affine import QuantParams, Range
    from stablequant.grid.histogram import Histogram

    Calibrator = Callable[..., Range]

CALIBRATORS: dict[str, Calibrator] = {
    "max": max_range,
    "percentile": percentile_range,
    "mse": mse_range,
    "entropy": entropy_range,
    "clipped_mse": clipped_mse_range,
}

#: What every calibrator takes; all else are options of its own.
_COMMON = ("histogram", "bits", "symmetric")


def calibrator(name: str) -> Callable[[Calibrator], Calibrator]:
    """Register a function as the calibrator ``name``, so that settings and `stablequant.scheme` can choose it.

    The function takes ``(histogram, *, bits, symmetric, **options)`` and returns the `Range` of real values to cover.

    Raises:
        SettingsError: There is a calibrator of this name.
    """

    def register(function: Calibrator) -> Calibrator:
        if CALIBRATORS.setdefault(name, function) is not function:
            what = f"there is a calibrator {name!r} already"
            raise SettingsError(what, expected="a new name")
        return function

    return register


def require_calibrator(name: str) -> Calibrator:
    """The calibrator called ``name``; SettingsError if there is none."""
    if name not in CALIBRATORS:
        what = f"calibrator {name!r} is unknown"
        raise SettingsError(what, expected=f"one of {', '.join(CALIBRATORS)}")
    return CALIBRATORS[name]


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
    function = require_calibrator(name)
    known = [option for option in inspect.signature(function).parameters if option not in _COMMON]
    if unknown := sorted(set(options) - set(known)):
        what = f"calibrator {name!r} has no option {', '.join(unknown)}"
        raise SettingsError(what, expected=f"only {', '.join(known)}" if known else "no options")
    chosen = function(histogram, bits=bits, symmetric=symmetric, **options)
    return params_from_range(chosen, bits=bits, symmetric=symmetric)
