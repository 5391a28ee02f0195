"""Bits a weight, by hand."""

from __future__ import annotations

import torch

from stablequant.grid.frame import PerFrame
from stablequant.grid.weights import PerChannel, PerGroup, PerTensor, WeightSpec
from stablequant.quantize.bits import average_bits
from stablequant.quantize.scheme import LayerScheme


def test_scales_count_and_so_do_layers_in_float() -> None:
    weights = {"a": torch.zeros(6, 40), "b": torch.zeros(2, 5, 3), "c": torch.zeros(10)}
    for per, scales in ((PerGroup(32), 6 * 2), (PerChannel(), 6), (PerTensor(), 1)):
        scheme = {"a": LayerScheme((PerFrame(),), WeightSpec(4, per)), "b": LayerScheme((PerFrame(),), WeightSpec())}
        stored = (4 * 240 + 32 * scales) + (8 * 30 + 32 * 2) + 32 * 10
        assert average_bits(weights, scheme) == stored / 280
