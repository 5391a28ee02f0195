"""The arithmetic of uniform quantisation: ranges, scales, zero points and the signed integer grid.

A real x and its code q are tied by ``x = scale * (q - zero_point)``; the code is
``q = clip(round_half_even(x / scale) + zero_point, -2^(bits-1), 2^(bits-1) - 1)``, as ONNX QuantizeLinear
defines it. Real arithmetic is float32 throughout, so that what is simulated here is what a runtime does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stablequant.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""The smallest scale: float32 is subnormal below it, and a runtime that flushes those divides by zero."""

ZERO_RANGE_SCALE = 1.0
"""The scale of a range that holds only zero: zero is exact on any grid, and 1.0 is safe to divide by."""


@dataclass(frozen=True)
class Range:
    """The interval of real values that a grid is to cover.

    Attributes:
        low: Lower end, in the units of the tensor.
        high: Upper end, not below ``low``.

    Raises:
        SettingsError: An end is NaN or infinite, or the ends are the wrong way round.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Check the ends."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            what = f"range [{self.low}, {self.high}] cannot be quantised"
            raise SettingsError(what, expected="two finite ends, low <= high")

    @property
    def amax(self) -> float:
        """The largest magnitude in the range."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True)
class QuantParams:
    """A uniform grid on the signed integers.

    Attributes:
        scale: Width of a step in real units, rounded to float32 on construction.
        zero_point: The code of the real zero; 0 for a symmetric grid.
        bits: Width of a code.
        planes: How many codes carry a value: 1, or 2, of which the second is the first one's remainder on the
            grid ``remainder``. Both are operands of ``bits`` bits, multiplied by the same weights.

    Raises:
        SettingsError: The scale is not a positive float32, the zero point is no code, ``bits`` is not in
            2..16, or ``planes`` is not 1 or 2.
    """

    scale: float
    zero_point: int = 0
    bits: int = 8
    planes: int = 1

    def __post_init__(self) -> None:
        """Round the scale to float32 and check all three."""
        qmin, qmax = code_limits(self.bits)
        # The bound comes first: converting a larger double to float32 would warn before it could be refused.
        fits = 0 < self.scale <= float(np.finfo(np.float32).max)
        scale = float(np.float32(self.scale)) if fits else 0.0
        if scale < SMALLEST_SCALE:
            what = f"scale {self.scale} cannot be used"
            raise SettingsError(what, expected=f"a finite float32 of at least {SMALLEST_SCALE:.3g}")
        if not qmin <= self.zero_point <= qmax:
            what = f"zero point {self.zero_point} is not a {self.bits}-bit code"
            raise SettingsError(what, expected=f"an integer in {qmin}..{qmax}")
        if self.planes not in (1, 2):
            what = f"planes={self.planes} is not supported"
            raise SettingsError(what, expected="1 or 2")
        object.__setattr__(self, "scale", scale)

    @property
    def qmin(self) -> int:
        """The lowest code."""
        return code_limits(self.bits)[0]

    @property
    def qmax(self) -> int:
        """The highest code."""
        return code_limits(self.bits)[1]

    @property
    def remainder(self) -> QuantParams:
        """The symmetric grid of what rounding to this one leaves: half a step on either side."""
        return QuantParams(max(self.scale / (2 * self.qmax), SMALLEST_SCALE), 0, self.bits)

    @property
    def range(self) -> Range:
        """The real values of the lowest and the highest code."""
        return Range(self.scale * (self.qmin - self.zero_point), self.scale * (self.qmax - self.zero_point))

    @property
    def unclipped(self) -> Range:
        """The real values that are rounded to a code and not clamped: half a step further on either side."""
        low, high = self.range.low, self.range.high
        return Range(low - self.scale / 2, high + self.scale / 2)


def code_limits(bits: int) -> tuple[int, int]:
    """Return the lowest and highest signed code of ``bits`` bits.

    Raises:
        SettingsError: ``bits`` is not in 2..16.
    """
    if not 2 <= bits <= 16:
        what = f"bits={bits} is not supported"
        raise SettingsError(what, expected="an integer in 2..16")
    half = 1 << (bits - 1)
    return -half, half - 1


def params_from_range(range: Range, *, bits: int = 8, symmetric: bool = True) -> QuantParams:
    """Return the grid that covers a range.

    Symmetric: ``scale = amax / (2^(bits-1) - 1)``, zero point 0. Asymmetric: the range is widened to hold
    zero, ``scale = (high - low) / (2^bits - 1)``, and the zero point is rounded, so that zero is exact
    (padding and ReLU write many zeros) and one end gives way by at most half a step.

    Args:
        range: The values to cover. If it holds nothing but zero the scale is `ZERO_RANGE_SCALE`; a scale that
            float32 could hold only as a subnormal becomes `SMALLEST_SCALE`.
        bits: Width of a code, 2..16.
        symmetric: Whether to fix the zero point at 0.
    """
    qmin, qmax = code_limits(bits)
    if range.amax == 0.0:
        return QuantParams(ZERO_RANGE_SCALE, 0, bits)
    if symmetric:
        return QuantParams(max(range.amax / qmax, SMALLEST_SCALE), 0, bits)
    low, high = min(range.low, 0.0), max(range.high, 0.0)
    scale = max((high - low) / (qmax - qmin), SMALLEST_SCALE)
    return QuantParams(scale, min(max(qmin - round(low / scale), qmin), qmax), bits)


def quantize(x: NDArray[np.floating], params: QuantParams) -> NDArray[np.integer]:
    """Return the codes of ``x``, in its shape: int8 up to 8 bits, int16 above."""
    steps = np.rint(np.asarray(x, np.float32) / np.float32(params.scale))
    codes = np.clip(steps + np.float32(params.zero_point), params.qmin, params.qmax)
    kept: NDArray[np.integer] = codes.astype(np.int8 if params.bits <= 8 else np.int16)
    return kept


def dequantize(q: NDArray[np.integer], params: QuantParams) -> NDArray[np.float32]:
    """Return the real values of codes, in their shape, as float32."""
    steps = np.asarray(q, np.int32) - np.int32(params.zero_point)
    return np.asarray(steps.astype(np.float32) * np.float32(params.scale), np.float32)


def fake_quantize(x: NDArray[np.floating], params: QuantParams) -> NDArray[np.float32]:
    """Return ``x`` moved onto the grid and clamped to its ends, as all planes together hold it."""
    held = dequantize(quantize(x, params), params)
    if params.planes == 1:
        return held
    return held + fake_quantize(np.asarray(x, np.float32) - held, params.remainder)
