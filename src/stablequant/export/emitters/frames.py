"""How an activation with a scale for each frame is written in ONNX (grid/frame.py has the formulas).

Rows become codes of [-1, 1] or of [0, 1] times their own largest value, and the product is multiplied by that afterwards:
plain ONNX, in which a runtime finds the same int8 kernel as behind a calibrated grid. Layers that read one value (q, k and v)
share its largest values and its codes. A shift becomes part of the bias.

The codes are written in one of two ways. Where rows are many, passes over memory are what they cost: one QuantizeLinear with a
scale a row, if the target has a kernel of that. Elsewhere, and in a decoder's step, whose rows are few, so that it is nodes that
cost: rows divided by their largest value, and a *static* QuantizeLinear (bench/row_kernels.py).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stablequant.export.writer import Writer
from stablequant.grid.frame import SMALLEST_MAXIMUM, PerFrame
from stablequant.network.graph import Node


def product(
    w: Writer, node: Node, spec: PerFrame, multiply: Callable[[str], str], gathered: Callable[[str], str] | None
) -> None:
    """Write ``multiply`` of the node's input rounded by frame, the bias included.

    Args:
        w: The writer.
        node: A linear layer, or a convolution over windows.
        spec: Of its input.
        multiply: Writes the product with the weight.
        gathered: For a convolution, gathers the frames of a value ``[B, T, C]`` in windows ``[B, T', kernel, C]``.
    """
    x, shift = node.inputs[0], spec.shift
    shifted = x
    if shift is not None:
        added = w.constant(float(np.float32(shift)))
        shifted = _once(w, "shifted", x, spec, lambda: w.op("Add", x, added))
    largest = _once(w, "largest", x, spec, lambda: _largest_of_frames(w, shifted, spec))
    rows, width = shifted, w.float_weight(node, "weight")[0].size
    if gathered is not None:
        largest = _largest(w, gathered(largest), 2, keepdims=0)
        rows = w.op("Reshape", gathered(shifted), w.constant([0, 0, width]))

    def codes() -> str:
        if _many_rows(w):
            return _codes_by_row(w, rows, width, largest, spec)
        return w.codes(w.op("Div", rows, largest), spec.unit)

    held = w.dequantised(codes() if gathered else _once(w, "frame codes", x, spec, codes), spec.unit)
    (out,), bias = node.outputs, _bias(w, node, spec)
    if bias is None:
        w.op("Mul", multiply(held), largest, out=out)
    else:
        w.op("Add", w.op("Mul", multiply(held), largest), bias, out=out)


def _once(w: Writer, what: str, x: str, spec: PerFrame, write: Callable[[], str]) -> str:
    return w.once((what, x, spec), write)


def _many_rows(w: Writer) -> bool:
    """Whether a scale a row is cheaper in the quantiser than in front of it."""
    return w.target.row_scales and not w.graph.runs_in_steps


def _codes_by_row(w: Writer, rows: str, width: int, largest: str, spec: PerFrame) -> str:
    """``rows`` of ``width`` channels as codes with a scale a row; scales lie along one axis, which all but channels are made."""
    unit = spec.unit
    scales = w.op("Reshape", w.op("Mul", largest, w.constant(float(np.float32(unit.scale)))), w.constant([-1]))
    flat = w.op("Reshape", rows, w.constant([-1, width]))
    zero_points = w.op("Expand", w.zero_point(unit), w.op("Shape", scales))
    return w.op("Reshape", w.op("QuantizeLinear", flat, scales, zero_points, axis=0), w.op("Shape", rows))


def _largest_of_frames(w: Writer, x: str, spec: PerFrame) -> str:
    """The largest magnitude of each frame; of a shifted grid, whose values are none below 0, the largest value."""
    if spec.shift is not None:
        return _largest(w, x, -1)
    if not _many_rows(w):
        return _largest(w, w.op("Abs", x), -1)
    # Of many rows magnitudes are a pass over memory, and write all that they read.
    highest, lowest = (w.op(kind, x, w.constant([-1]), keepdims=1) for kind in ("ReduceMax", "ReduceMin"))
    return w.op("Max", highest, w.op("Neg", lowest), w.constant(float(np.float32(SMALLEST_MAXIMUM))))


def _largest(w: Writer, value: str, axis: int, keepdims: int = 1) -> str:
    """The largest value along an axis, and never so small that a row of zeros could not be divided by it."""
    found = w.op("ReduceMax", value, w.constant([axis]), keepdims=keepdims)
    return w.op("Max", found, w.constant(float(np.float32(SMALLEST_MAXIMUM))))


def _bias(w: Writer, node: Node, spec: PerFrame) -> str | None:
    """The bias, less what the shift adds to every product: ``c`` times the sum of the output channel's weights."""
    bias = w.float_weight(node, "bias") if "bias" in node.weights else None
    if spec.shift is None:
        return None if bias is None else w.parameter(node, "bias")
    sums = w.quantised_weight(node).dequantized().double().flatten(1).sum(1).numpy()
    moved = (0.0 if bias is None else bias.astype(np.float64)) - np.float32(spec.shift).astype(np.float64) * sums
    return w.constant(moved.astype(np.float32), np.float32, f"{node.name}.shifted_bias")
