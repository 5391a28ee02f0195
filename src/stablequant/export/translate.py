"""A graph and a quantisation scheme as an ONNX model."""

from __future__ import annotations

import onnx

from stablequant.errors import ExportError
from stablequant.export.emitters import EMITTERS
from stablequant.export.targets import DEFAULT, Target
from stablequant.export.writer import Writer
from stablequant.grid.weights import PerGroup
from stablequant.network.graph import Graph
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.weights import WeightStore

#: Width of the integers that int8 kernels multiply.
BITS = 8


def to_onnx(graph: Graph, scheme: Scheme, weights: WeightStore, target: Target = DEFAULT) -> onnx.ModelProto:
    """Translate ``graph``; the layers ``scheme`` names run in int8, the rest in float.

    Args:
        graph: The network.
        scheme: How layers are quantised.
        weights: Integer weights of the model's layers.
        target: The runtime that the file is for.

    Raises:
        ExportError: No runtime has kernels for what the scheme asks of a layer.
    """
    for name, layer in scheme.items():
        widths = {a.bits for a in layer.activations} | ({layer.weight.bits} if layer.weight else set())
        if widths != {BITS}:
            what = f"{name} has operands of {', '.join(map(str, sorted(widths)))} bits"
            raise ExportError(what, expected=f"{BITS}: the width that int8 kernels have", fix="quantize with bits=8")
        if layer.weight and isinstance(layer.weight.per, PerGroup):
            what = f"{name} has a scale for every {layer.weight.per.size} weights"
            raise ExportError(what, expected="one scale an output channel or one a tensor, as int8 kernels have")
    writer = Writer(graph, scheme, target, weights)
    for node in graph.nodes:
        EMITTERS[node.kind](writer, node)
    return writer.model()
