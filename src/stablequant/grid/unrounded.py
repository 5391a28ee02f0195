"""An activation that stays in float: what a layer has whose weights alone are integers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unrounded:
    """An activation that is not rounded; the layer multiplies it by weights dequantised block by block."""

    @property
    def bits(self) -> int:
        """Where widths are told: 16, as in W4A16, after the half precision of kernels on a GPU. Here it is float32."""
        return 16

    @property
    def planes(self) -> int:
        """Codes that carry a value: none stands in for it."""
        return 1
