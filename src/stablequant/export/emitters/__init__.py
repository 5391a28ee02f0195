"""How each kind of node is written in ONNX. The counterpart of network/kernels.py, kind by kind.

An emitter gets the writer and the node; a value keeps its name, so inputs can be read by the names of the graph.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stablequant.errors import ExportError
from stablequant.export.emitters import activations, attention, blocks, products, relative
from stablequant.export.emitters.lengths import counted, steps, valid
from stablequant.export.writer import Writer
from stablequant.network.graph import Node

Emitter = Callable[[Writer, Node], None]
EMITTERS: dict[str, Emitter] = {}


def emitter(kind: str) -> Callable[[Emitter], Emitter]:
    """Register a function as the emitter of ``kind``."""

    def register(function: Emitter) -> Emitter:
        EMITTERS[kind] = function
        return function

    return register


EMITTERS |= {"linear": products.linear, "conv1d": products.conv1d, "conv2d": products.conv2d}
EMITTERS |= {"matmul": attention.matmul, "attention_softmax": attention.attention_softmax}
EMITTERS |= {"multi_head_attention": attention.multi_head_attention}
EMITTERS |= {"activation": activations.activation}
EMITTERS |= {
    "relative_bias": relative.relative_bias,
    "relative_gate": relative.relative_gate,
    "relative_shift": relative.relative_shift,
    "relative_sinusoids": relative.relative_sinusoids,
    "by_distance": relative.by_distance,
}


@emitter("identity")
def _identity(w: Writer, node: Node) -> None:
    w.op("Identity", node.inputs[0], out=node.outputs[0])


@emitter("unsqueeze_last")
def _unsqueeze_last(w: Writer, node: Node) -> None:
    w.op("Unsqueeze", node.inputs[0], w.constant([-1]), out=node.outputs[0])


@emitter("conv_lengths")
def _conv_lengths(w: Writer, node: Node) -> None:
    seen = node.attrs["kernel"] - 2 * node.attrs.get("padding", 0)
    kernel, stride = w.constant(np.array(seen)), w.constant(np.array(node.attrs["stride"]))
    # (n - k) / s + 1 as (n - k + s) / s: integer division truncates, and this way an utterance shorter than the
    # kernel gives 0 steps, not 1.
    room = w.op("Add", w.op("Sub", node.inputs[0], kernel), stride)
    w.op("Max", w.op("Div", room, stride), w.constant(np.array(0)), out=node.outputs[0])


@emitter("average_pool")
def _average_pool(w: Writer, node: Node) -> None:
    factor = [node.attrs["factor"]]
    turned = w.op("Transpose", node.inputs[0], perm=[0, 2, 1])
    pooled = w.op("AveragePool", turned, kernel_shape=factor, strides=factor)
    w.op("Transpose", pooled, perm=[0, 2, 1], out=node.outputs[0])


@emitter("upsample")
def _upsample(w: Writer, node: Node) -> None:
    x, lengths, like = node.inputs
    y = w.op("Reshape", x, w.constant([0, -1, node.attrs["channels"]]))
    rest = w.op("Sub", w.op("Shape", like, start=1, end=2), w.op("Shape", y, start=1, end=2))
    pads = w.op("Concat", w.constant([0, 0, 0, 0]), rest, w.constant([0]), axis=0)
    whole = w.op("Pad", y, pads, w.constant(0.0))
    count = w.op("Mul", lengths, w.constant(np.array(node.attrs["factor"])))
    within = w.op("Cast", w.op("Unsqueeze", valid(w, whole, 1, count), w.constant([2])), to=1)
    w.op("Mul", whole, within, out=node.outputs[0])


@emitter("mask")
def _mask(w: Writer, node: Node) -> None:
    """Of ``[B, T, C]``, or with other axes between batch and time, as many as the attribute says."""
    x, lengths = node.inputs
    between = list(range(1, 1 + node.attrs.get("between", 0)))
    within = valid(w, x, 1 + len(between), lengths)
    column = w.op("Cast", w.op("Unsqueeze", within, w.constant([*between, 2 + len(between)])), to=1)
    w.op("Mul", x, column, out=node.outputs[0])


@emitter("layer_norm")
def _layer_norm(w: Writer, node: Node) -> None:
    bias = [w.parameter(node, "bias")] if "bias" in node.weights else []
    w.op(
        "LayerNormalization",
        node.inputs[0],
        w.parameter(node, "weight"),
        *bias,
        out=node.outputs[0],
        axis=-1,
        epsilon=node.attrs["eps"],
    )


@emitter("group_norm")
def _group_norm(w: Writer, node: Node) -> None:
    """With one group the statistics are over time and channels, with a group a channel over time alone.

    ONNX Runtime sums over time fast where time is the last axis, to which it turns values between two convolutions. Where those
    are in windows it is not, and the sum is written as a product with the valid steps.
    """
    x, lengths = node.inputs
    channels, groups = w.float_weight(node, "weight").shape[0], node.attrs["groups"]
    if groups not in (1, channels):
        what = f"{node.name}: {groups} groups of {channels} channels"
        raise ExportError(what, expected="one group, or one a channel")
    product = groups > 1 and any(w.in_windows(other) for other in w.graph.nodes)
    axis, axes = (1, []) if product else (2, [1, 2] if groups == 1 else [1])
    within = w.op("Cast", w.op("Unsqueeze", valid(w, x, 1, lengths), w.constant([axis])), to=1)
    size = w.op("Mul", lengths, w.constant(np.array(channels // groups)))
    count = w.op("Cast", w.op("Unsqueeze", size, w.constant([1, 2])), to=1)

    def mean_of(value: str) -> str:
        total = w.op("MatMul", within, value) if product else w.op("ReduceSum", value, w.constant(axes))
        return w.op("Div", total, count)

    if product:
        centred = w.op("Sub", x, mean_of(x))
    else:
        centred = w.op("Mul", w.op("Sub", x, mean_of(w.op("Mul", x, within))), within)
    variance = mean_of(w.op("Mul", centred, centred))
    deviation = w.op("Sqrt", w.op("Add", variance, w.constant(float(node.attrs["eps"]))))
    scaled = w.op("Mul", w.op("Div", centred, deviation), w.parameter(node, "weight"))
    w.op("Add", scaled, w.parameter(node, "bias"), out=node.outputs[0])


@emitter("offset")
def _offset(w: Writer, node: Node) -> None:
    w.op("Add", node.inputs[0], w.parameter(node, "offset"), out=node.outputs[0])


@emitter("add")
def _add(w: Writer, node: Node) -> None:
    w.op("Add", *node.inputs, out=node.outputs[0])


@emitter("mul")
def _mul(w: Writer, node: Node) -> None:
    w.op("Mul", *node.inputs, out=node.outputs[0])


@emitter("chunk")
def _chunk(w: Writer, node: Node) -> None:
    w.ops("Split", node.inputs, node.outputs, axis=-1, num_outputs=len(node.outputs))


@emitter("split_heads")
def _split_heads(w: Writer, node: Node) -> None:
    shaped = w.op("Reshape", node.inputs[0], w.constant([0, 0, node.attrs["heads"], -1]))
    w.op("Transpose", shaped, perm=[0, 2, 1, 3], out=node.outputs[0])


@emitter("merge_heads")
def _merge_heads(w: Writer, node: Node) -> None:
    turned = w.op("Transpose", node.inputs[0], perm=[0, 2, 1, 3])
    w.op("Reshape", turned, w.constant([0, 0, -1]), out=node.outputs[0])


@emitter("positions")
def _positions(w: Writer, node: Node) -> None:
    numbers, last = _numbers(w, node), node.attrs.get("last", 0) if w.graph.any_length else 0
    if last:  # those of the table's end, wherever it is cut short
        rows = len(w.float_weight(node, "table"))
        begin = w.op("Slice", numbers, w.constant([0]), w.constant([-last]))
        numbers = w.op("Concat", begin, w.constant(list(range(rows - last, rows))), axis=0)
    w.op("Gather", w.parameter(node, "table"), numbers, axis=0, out=node.outputs[0])


def _numbers(w: Writer, node: Node) -> str:
    """The positions of a node's first input, which come after those in its second, if it has one."""
    like, *past = node.inputs
    start = steps(w, past[0], 2) if past else w.constant(np.array(0))
    return counted(w, start, w.op("Add", start, steps(w, like, 1)))


@emitter("rotate")
def _rotate(w: Writer, node: Node) -> None:
    turned = w.constant(w.float_weight(node, "weight").T, np.float32, node.weights["weight"])
    w.op("MatMul", node.inputs[0], turned, out=node.outputs[0])


@emitter("rotary_tables")
def _rotary_tables(w: Writer, node: Node) -> None:
    positions = w.op("Unsqueeze", w.op("Cast", _numbers(w, node), to=1), w.constant([1]))
    angles = w.op("Mul", positions, w.parameter(node, "frequencies"))
    w.op("Cos", angles, out=node.outputs[0])
    w.op("Sin", angles, out=node.outputs[1])


@emitter("rotary")
def _rotary(w: Writer, node: Node) -> None:
    x, cos, sin = node.inputs
    turned = w.op("MatMul", x, w.parameter(node, "rotation"))
    w.op("Add", w.op("Mul", x, cos), w.op("Mul", turned, sin), out=node.outputs[0])


@emitter("embedding")
def _embedding(w: Writer, node: Node) -> None:
    """Rows of a table; if it is also the head's weight, the one stored copy serves both.

    The head keeps it as ``[C, V]``, so tokens are gathered along the second axis and turned round.
    """
    ids, out, layer = node.inputs[0], node.outputs[0], w.layer(node)
    if node.shares and layer and isinstance(layer.activations[0], blocks.InBlocks):
        blocks.rows(w, node)
    elif not node.shares:
        w.op("Gather", w.parameter(node, "weight"), ids, out=out)
    elif layer is None or w.target.strict:
        w.op("Transpose", w.op("Gather", w.weight(node, transposed=True), ids, axis=1), perm=[1, 2, 0], out=out)
    else:
        values, scale, _, _ = w.int8_weight(node, transposed=True)
        rows = w.op("Transpose", w.op("Cast", w.op("Gather", values, ids, axis=1), to=1), perm=[1, 2, 0])
        if moved := w.moved(node):
            rows = w.op("Sub", rows, w.constant(float(moved)))
        if w.is_scalar(scale):
            w.op("Mul", rows, scale, out=out)
        else:
            w.op("Mul", rows, w.op("Unsqueeze", w.op("Gather", scale, ids), w.constant([2])), out=out)


@emitter("append_steps")
def _append_steps(w: Writer, node: Node) -> None:
    w.op("Concat", *node.inputs, axis=2, out=node.outputs[0])
