"""A graph and a quantisation scheme as an ONNX model."""

from __future__ import annotations

import onnx

from stablequant.errors import ExportError
from stablequant.export.emitters import EMITTERS
from stablequant.export.targets import DEFAULT, Target
from stablequant.export.writer import Writer
from stablequant.grid.frame import PerFrame
from stablequant.grid.weights import PerGroup
from stablequant.network.graph import Graph, Node
from stablequant.quantize.scheme import Scheme, in_rows
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
    for node in graph.nodes:
        layer_scheme = scheme.get(node.name)
        if layer_scheme and any(isinstance(a, PerFrame) for a in layer_scheme.activations):
            _require_rows(node, target)
    writer = Writer(graph, scheme, target, weights)
    for node in graph.nodes:
        EMITTERS[node.kind](writer, node)
    return writer.model()


def _require_rows(node: Node, target: Target) -> None:
    """Raise ExportError where a node's input cannot be rounded with a scale a frame in a file for ``target``."""
    if target.strict:
        what = f"{node.name} has a scale a frame"
        fix = "quantize with --recipe paper, or export for onnxruntime or openvino"
        raise ExportError(what, expected=f"calibrated scales, the only ones that {target.name} takes", fix=fix)
    if not in_rows(node):
        what = f"{node.name} ({node.kind}) has a scale a frame"
        raise ExportError(
            what, expected="a static grid for a product of activations and for a padded or grouped convolution"
        )
