"""A grid whose scale is computed when the layer runs: each frame's own largest value sets it, so nothing is calibrated.

For a frame x (all its channels; for a convolution all frames of a window together), with n = 2^(bits-1) - 1 and
N = 2^bits - 1:

    symmetric:   m = max |x|,       q = round(n x / m)  in -n..n,       x ~ (m / n) q
    shifted:     m = max (x + c),   q = round(N (x + c) / m)  in 0..N,  x ~ (m / N) q - c      where x + c >= 0

A shifted grid serves the output of an activation function that is never below -c, such as GELU: a symmetric grid would leave
nearly half of its codes unused. In a layer the shift is ``c`` times the sum of the weights, part of the bias. This is the
per-token dynamic quantisation of ZeroQuant (Yao et al. 2022, arXiv 2206.01861), with the shift added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stablequant.errors import SettingsError
from stablequant.grid.affine import QuantParams, code_limits
from stablequant.grid.block import PerBlock
from stablequant.grid.unrounded import Unrounded

#: Largest values below this count as this, so that a frame of nothing but zeros is divided by something, and stays exact.
SMALLEST_MAXIMUM = 1e-30


@dataclass(frozen=True)
class PerFrame:
    """How an activation is rounded with a scale for each frame.

    Attributes:
        bits: Width of a code.
        shift: ``c`` of a shifted grid; ``None`` for a symmetric one.

    Raises:
        SettingsError: ``bits`` is not in 2..16, or ``shift`` is negative or not finite.
    """

    bits: int = 8
    shift: float | None = None

    def __post_init__(self) -> None:
        """Check both."""
        code_limits(self.bits)
        if self.shift is not None and not (math.isfinite(self.shift) and self.shift >= 0):
            what = f"a grid shifted by {self.shift}"
            raise SettingsError(what, expected="a finite shift of at least 0")

    @property
    def planes(self) -> int:
        """Codes that carry a value: one."""
        return 1

    @property
    def unit(self) -> QuantParams:
        """The static grid of a frame divided by its ``m``: of [-1, 1], or of [0, 1] with all codes above the zero point."""
        low, high = code_limits(self.bits)
        if self.shift is None:
            return QuantParams(1 / high, 0, self.bits)
        return QuantParams(1 / (high - low), low, self.bits)


#: How an activation is rounded: on a static grid, with a scale for each frame or each block of one's channels, or not at all.
ActivationSpec = QuantParams | PerFrame | PerBlock | Unrounded
