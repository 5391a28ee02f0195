"""How many bits a weight takes, scales told with codes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from stablequant.grid.weights import PerGroup, PerTensor, WeightSpec
from stablequant.quantize.scheme import Scheme

#: Of a weight that stays in float, and of a scale.
FLOAT = 32


def stored_bits(weight: Tensor, spec: WeightSpec | None) -> int:
    """Bits that a weight ``[out, ...]`` takes with its scales (there are no zero points to store); ``None``: in float."""
    if spec is None:
        return FLOAT * weight.numel()
    match spec.per:
        case PerTensor():
            scales = 1
        case PerGroup(size):
            scales = len(weight) * -(-weight[0].numel() // size)
        case _:
            scales = len(weight)
    return spec.bits * weight.numel() + FLOAT * scales


def average_bits(weights: Mapping[str, Tensor], scheme: Scheme) -> float:
    """Mean bits a weight of the layers in ``weights``, scales among them; layers that ``scheme`` leaves out are in float."""
    specs = {name: scheme[name].weight if name in scheme else None for name in weights}
    stored = sum(stored_bits(weight, specs[name]) for name, weight in weights.items())
    return stored / sum(weight.numel() for weight in weights.values())
