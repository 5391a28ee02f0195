"""How relative positions of attention are written in ONNX."""

from __future__ import annotations

import numpy as np

from stablequant.export.emitters.lengths import counted, steps
from stablequant.export.writer import Writer
from stablequant.network.graph import Node


def _distances(w: Writer, length: str, low: int, high: int) -> str:
    """``[T, T]``: how many steps each key is after each query, within limits, counted from the lower one."""
    numbers = counted(w, w.constant(np.array(0)), length)
    distance = w.op("Sub", w.op("Unsqueeze", numbers, w.constant([0])), w.op("Unsqueeze", numbers, w.constant([1])))
    return w.op(
        "Add", w.op("Clip", distance, w.constant(np.array(low)), w.constant(np.array(high))), w.constant(np.array(-low))
    )


def relative_bias(w: Writer, node: Node) -> None:
    """Rows of a table by distance."""
    reach = node.attrs["reach"]
    index = _distances(w, steps(w, node.inputs[0], 1), -reach, reach)
    w.op("Transpose", w.op("Gather", w.parameter(node, "table"), index), perm=[2, 0, 1], out=node.outputs[0])


def by_distance(w: Writer, node: Node) -> None:
    """Scores of each key from those of each distance; all layers of a stack share the index."""
    (scores,), back, ahead = node.inputs, node.attrs["back"], node.attrs["ahead"]
    index = w.once(("distances", node.lengths, back, ahead), lambda: _distances(w, steps(w, scores, 2), -back, ahead))
    shape = w.op("Concat", w.op("Shape", scores, start=0, end=3), w.op("Shape", scores, start=2, end=3), axis=0)
    w.op("GatherElements", scores, w.op("Expand", index, shape), axis=3, out=node.outputs[0])


def relative_sinusoids(w: Writer, node: Node) -> None:
    """Sines and cosines in turn of all distances, from the furthest back to the furthest ahead."""
    length, one = steps(w, node.inputs[0], 1), w.constant(np.array(1))
    last = w.op("Sub", length, one)
    numbers = counted(w, w.constant(np.array(0)), w.op("Add", length, last))
    distances = w.op("Unsqueeze", w.op("Cast", w.op("Sub", last, numbers), to=1), w.constant([1]))
    angles = w.op("Mul", distances, w.parameter(node, "frequencies"))
    pair = [w.op("Unsqueeze", w.op(kind, angles), w.constant([2])) for kind in ("Sin", "Cos")]
    channels = 2 * w.float_weight(node, "frequencies").size
    w.op("Reshape", w.op("Concat", *pair, axis=2), w.constant([1, -1, channels]), out=node.outputs[0])


def relative_shift(w: Writer, node: Node) -> None:
    """Rows laid end to end and cut anew (see the kernel)."""
    (scores,) = node.inputs
    length = w.op("Shape", scores, start=2, end=3)
    wider = w.op("Pad", scores, w.constant([0, 0, 0, 1, 0, 0, 0, 0]), w.constant(0.0))
    laid = w.op("Reshape", wider, w.op("Concat", w.constant([0, 0, -1]), length, axis=0))
    cut = w.op("Slice", laid, w.constant([1]), w.constant([np.iinfo(np.int64).max]), w.constant([2]))
    rows = w.op("Reshape", cut, w.op("Concat", w.constant([0, 0]), length, w.constant([-1]), axis=0))
    w.op("Slice", rows, w.constant([0]), length, w.constant([3]), out=node.outputs[0])


def relative_gate(w: Writer, node: Node) -> None:
    """WavLM's gate from two logits."""
    a, b = f"{node.name}.a", f"{node.name}.b"
    w.ops("Split", [w.op("Sigmoid", node.inputs[0])], [a, b], axis=-1, num_outputs=2)
    inner = w.op("Sub", w.op("Mul", b, w.parameter(node, "constant")), w.constant(1.0))
    w.op("Add", w.op("Mul", a, inner), w.constant(2.0), out=node.outputs[0])
