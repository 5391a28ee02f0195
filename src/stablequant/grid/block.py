"""A grid whose scale is computed for each block of a row's channels when the layer runs, as kernels of block-wise weights do.

A row x is cut into blocks of ``size`` channels, the last filled up with zeros where the channels end within it. For each block
b, with n = 2^(bits-1) - 1:

    m = max |b|,    q = round(b (n / m))  in -n..n, ties to even,    b ~ q (m / n)          and a block of zeros stays one

In a layer each block is multiplied by the group of weights that lies opposite it, the product of integers by both scales, and
the blocks' products are added in float: y = sum over b of (m_b / n) s_b (q_b . w_b). That is what ONNX Runtime's
``MatMulNBits`` computes at ``accuracy_level`` 4, with the same order of division and product (checked value by value in
tests/export/test_blocks.py); block-wise quantisation is that of Q8_0 in llama.cpp, and of VSQ (Dai et al. 2021, arXiv
2102.04503). One difference: that kernel takes a block with a value that is no number for zeros, and here it stays none.
"""

from __future__ import annotations

from dataclasses import dataclass

from stablequant.errors import SettingsError
from stablequant.grid.affine import code_limits


@dataclass(frozen=True)
class PerBlock:
    """How an activation is rounded with a scale for each block of a row's channels.

    Attributes:
        bits: Width of a code.
        size: Channels in a block.

    Raises:
        SettingsError: ``bits`` is not in 2..16, or ``size`` is below 1.
    """

    bits: int = 8
    size: int = 32

    def __post_init__(self) -> None:
        """Check both."""
        code_limits(self.bits)
        if self.size < 1:
            what = f"blocks of {self.size} channels"
            raise SettingsError(what, expected="at least 1 channel in a block")

    @property
    def planes(self) -> int:
        """Codes that carry a value: one."""
        return 1
