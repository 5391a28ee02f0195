"""How an activation with a scale for each frame is written in ONNX (grid/frame.py has the formulas).

Rows are divided by their own largest value before a *static* QuantizeLinear, of [-1, 1] or of [0, 1], and the product is
multiplied by it afterwards: plain ONNX, in which a runtime finds the same int8 kernel as behind a calibrated grid. Layers that
read one value (q, k and v) share its largest values and its codes. A shift becomes part of the bias.
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
    if shift is None:
        shifted, magnitudes = x, _once(w, "magnitudes", x, spec, lambda: w.op("Abs", x))
    else:
        added = w.constant(float(np.float32(shift)))
        shifted = magnitudes = _once(w, "shifted", x, spec, lambda: w.op("Add", x, added))
    largest = _once(w, "largest", x, spec, lambda: _largest(w, magnitudes, -1))
    rows = shifted
    if gathered is not None:
        largest = _largest(w, gathered(largest), 2, keepdims=0)
        width = node.attrs["kernel"] * w.float_weight(node, "weight").shape[1]
        rows = w.op("Reshape", gathered(shifted), w.constant([0, 0, width]))

    def codes() -> str:
        return w.codes(w.op("Div", rows, largest), spec.unit)

    held = w.dequantised(codes() if gathered else _once(w, "frame codes", x, spec, codes), spec.unit)
    (out,), bias = node.outputs, _bias(w, node, spec)
    if bias is None:
        w.op("Mul", multiply(held), largest, out=out)
    else:
        w.op("Add", w.op("Mul", multiply(held), largest), bias, out=out)


def _once(w: Writer, what: str, x: str, spec: PerFrame, write: Callable[[], str]) -> str:
    return w.once((what, x, spec), write)


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
