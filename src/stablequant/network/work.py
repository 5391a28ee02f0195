"""How much an operation computes: the unit in which a search counts its cost, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from stablequant.network.graph import Node


def multiplications(
    node: Node, inputs: Sequence[Tensor], weights: Mapping[str, Tensor], outputs: Sequence[Tensor]
) -> int:
    """Multiplications in the products of ``node``, padding included; 0 for what works element by element.

    Each element of an output is a sum over a row of the weight, or over the axis that two activations share.
    """
    match node.kind:
        case "linear" | "rotate" | "conv1d" | "conv2d":
            return outputs[0].numel() * weights["weight"][0].numel()
        case "matmul":
            return outputs[0].numel() * inputs[0].shape[-1]
        case "attention":
            queries, keys = inputs[0], inputs[1]
            return 2 * queries.numel() * keys.shape[-2]
    return 0
