"""A graph and a quantisation scheme as an ONNX model."""

from __future__ import annotations

import onnx

from stablequant.errors import ExportError
from stablequant.export.data_file import DataFile
from stablequant.export.emitters import EMITTERS
from stablequant.export.targets import DEFAULT, Target
from stablequant.export.writer import Writer
from stablequant.grid.affine import QuantParams
from stablequant.grid.block import PerBlock
from stablequant.grid.weights import PerGroup
from stablequant.network.graph import Graph, Node
from stablequant.quantize.scheme import LayerScheme, Scheme, misfit
from stablequant.quantize.weights import WeightStore

#: Width of the integers that int8 kernels multiply.
BITS = 8
#: Sizes of blocks that MatMulNBits takes.
BLOCKS = (16, 32, 64, 128, 256)


def to_onnx(
    graph: Graph, scheme: Scheme, weights: WeightStore, target: Target = DEFAULT, data: DataFile | None = None
) -> onnx.ModelProto:
    """Translate ``graph``; the layers ``scheme`` names run in int8, the rest in float.

    Args:
        graph: The network.
        scheme: How layers are quantised.
        weights: Integer weights of the model's layers.
        target: The runtime that the file is for.
        data: Where large tensors go; default: into the model.

    Raises:
        ExportError: No runtime has kernels for what the scheme asks of a layer.
    """
    for name, layer in scheme.items():
        widths = {a.bits for a in layer.activations} | ({layer.weight.bits} if layer.weight else set())
        if widths != {BITS}:
            what = f"{name} has operands of {', '.join(map(str, sorted(widths)))} bits"
            raise ExportError(what, expected=f"{BITS}: the width that int8 kernels have", fix="quantize with bits=8")
        by_block = any(isinstance(a, PerBlock) for a in layer.activations)
        if layer.weight and isinstance(layer.weight.per, PerGroup) and not by_block:
            what = f"{name} has a scale for every {layer.weight.per.size} weights"
            raise ExportError(
                what,
                expected="one scale an output channel or one a tensor, as int8 kernels have, or a scale a block of the input too",
            )
    for node in graph.nodes:
        if node.name in scheme:
            _require_kernels(node, scheme[node.name], target)
    writer = Writer(graph, scheme, target, weights, data)
    for node in graph.nodes:
        EMITTERS[node.kind](writer, node)
    return writer.model()


def _require_kernels(node: Node, layer: LayerScheme, target: Target) -> None:
    """Raise ExportError where a node's input cannot be rounded as its scheme says in a file for ``target``."""
    if wrong := misfit(node, layer):
        what = f"{node.name} ({node.kind}) has {wrong[0]}"
        raise ExportError(what, expected=wrong[1])
    dynamic = next((a for a in layer.activations if not isinstance(a, QuantParams)), None)
    if target.strict and dynamic:
        what = f"{node.name} has a scale {'a block' if isinstance(dynamic, PerBlock) else 'a frame'}"
        fix = "quantize with --recipe paper, or export for onnxruntime or openvino"
        raise ExportError(what, expected=f"calibrated scales, the only ones that {target.name} takes", fix=fix)
    if isinstance(dynamic, PerBlock) and target.block_kernel and dynamic.size not in BLOCKS:
        what = f"{node.name} has a scale for every {dynamic.size} channels"
        raise ExportError(what, expected=f"a power of two from {BLOCKS[0]}, as {target.name}'s kernels have")
