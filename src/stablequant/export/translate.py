"""A graph and a quantisation scheme as an ONNX model."""

from __future__ import annotations

import onnx

from stablequant.errors import ExportError
from stablequant.export.data_file import DataFile
from stablequant.export.emitters import EMITTERS
from stablequant.export.kernels import BITS, KERNELS, has_kernels
from stablequant.export.targets import DEFAULT, Target
from stablequant.export.writer import Writer
from stablequant.grid.affine import QuantParams
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import PerFrame
from stablequant.grid.unrounded import Unrounded
from stablequant.grid.weights import PerGroup
from stablequant.network.fuse import fuse_heads
from stablequant.network.graph import Graph, Node
from stablequant.quantize.scheme import LayerScheme, Scheme, misfit
from stablequant.quantize.weights import WeightStore

#: What a layer has whose input is rounded when it runs, or not at all.
FORMS = {PerFrame: "a scale a frame", PerBlock: "a scale a block", Unrounded: "an input in float"}


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
    for node in graph.nodes:
        if node.name in scheme:
            _require_kernels(node, scheme[node.name], target)
    if target.attention_kernel:
        graph = fuse_heads(graph, scheme)
    writer = Writer(graph, scheme, target, weights, data)
    for node in graph.nodes:
        EMITTERS[node.kind](writer, node)
    return writer.model()


def _require_kernels(node: Node, layer: LayerScheme, target: Target) -> None:
    """Raise ExportError where no kernel computes a node as its scheme says in a file for ``target``."""
    if wrong := misfit(node, layer):
        what = f"{node.name} ({node.kind}) has {wrong[0]}"
        raise ExportError(what, expected=wrong[1])
    dynamic = next((a for a in layer.activations if not isinstance(a, QuantParams)), None)
    if target.strict and dynamic:
        what = f"{node.name} has {FORMS[type(dynamic)]}"
        fix = "quantize with --recipe paper, or export for onnxruntime or openvino"
        raise ExportError(what, expected=f"calibrated scales, the only ones that {target.name} takes", fix=fix)
    widths = {a.bits for a in layer.activations}
    in_blocks = isinstance(dynamic, PerBlock | Unrounded)
    group = layer.weight.per.size if layer.weight and isinstance(layer.weight.per, PerGroup) else None
    bits = layer.weight.bits if layer.weight else BITS
    if bool(group) != in_blocks or not all(has_kernels(width, bits, group) for width in widths):
        form = FORMS.get(type(dynamic), "calibrated scales")
        grouped, told = f" in groups of {group}" if group else "", " and ".join(map(str, sorted(widths)))
        what = f"{node.name} has weights of {bits} bits{grouped} and activations of {told}, {form}"
        raise ExportError(what, expected=KERNELS, fix="quantize with widths that have kernels (docs/bits.md)")
