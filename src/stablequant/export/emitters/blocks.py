"""How a linear layer with a scale for each block of its input and of its weights is written in ONNX (grid/block.py).

ONNX Runtime has one operator for all of it, ``MatMulNBits``, which rounds its input block by block when it runs. Elsewhere the
rounding is plain ONNX, and the weights are dequantised in front of a float product: a runtime that knows weights in groups keeps
them as integers in memory, which is what a decoder's step is short of. Either way an embedding that shares the head's weight
gathers its rows from the same stored codes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from stablequant.export.writer import MICROSOFT, Writer
from stablequant.grid.affine import code_limits
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import SMALLEST_MAXIMUM
from stablequant.network.graph import Node

#: Activations are rounded to 8 bits before they are multiplied.
INT8 = 4


def linear(w: Writer, node: Node, spec: PerBlock) -> None:
    """The product of rounded input and weights, and the bias."""
    out, bias = node.outputs[0], [w.parameter(node, "bias")] if "bias" in node.weights else []
    if w.target.block_kernel:
        codes, scales = _weight(w, node, spec)
        out_channels, channels = w.float_weight(node, "weight").shape
        # Its inputs between scales and bias, zero points and an order of channels, are left out.
        rest = ["", "", *bias] if bias else []
        width = {"K": channels, "N": out_channels, "bits": w.quantised_weight(node).spec.bits, "block_size": spec.size}
        w.op(
            "MatMulNBits", node.inputs[0], codes, scales, *rest, out=out, domain=MICROSOFT, accuracy_level=INT8, **width
        )
        return
    x, weight = w.once(("block", node.inputs[0], spec), lambda: _rounded(w, node, spec)), _dequantised(w, node, spec)
    if bias:
        w.op("Add", w.op("MatMul", x, weight), *bias, out=out)
    else:
        w.op("MatMul", x, weight, out=out)


def rows(w: Writer, node: Node, spec: PerBlock) -> None:
    """Rows of a table that is stored as a linear layer's weight."""
    ids, channels = node.inputs[0], w.float_weight(node, "weight").shape[1]
    codes, scales = _weight(w, node, spec)
    found = _values(w, w.op("Gather", codes, ids), w.op("Gather", scales, ids), 3)
    _without_filling(w, w.op("Reshape", found, w.constant([0, 0, -1])), channels, spec, node.outputs[0])


def packed(codes: NDArray[np.int8], size: int, bits: int) -> NDArray[np.uint8]:
    """Signed codes ``[out, in]`` as ``MatMulNBits`` stores them: ``[out, blocks, size * bits / 8]``, moved to start at 0.

    The last block is filled up with the code of zero; of codes narrower than a byte the first lies lowest in it.
    """
    zero = 1 << (bits - 1)
    moved = np.pad(codes.astype(np.int16) + zero, ((0, 0), (0, -codes.shape[1] % size)), constant_values=zero)
    parts = moved.astype(np.uint8).reshape(len(codes), -1, size * bits // 8, 8 // bits)
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(parts << (bits * np.arange(8 // bits, dtype=np.uint8)), axis=3)
    return packed


def _weight(w: Writer, node: Node, spec: PerBlock) -> tuple[str, str]:
    """Codes ``[out, blocks, size]`` and scales ``[out, blocks]`` of a weight as initialisers."""
    key, held = node.weights["weight"], w.quantised_weight(node)
    codes = packed(held.codes.numpy(), spec.size, held.spec.bits)
    return (
        w.constant(codes, np.uint8, f"{key}.blocks"),
        w.constant(held.scales.numpy(), np.float32, f"{key}.blocks.scale"),
    )


def _values(w: Writer, codes: str, scales: str, axis: int) -> str:
    """What stored codes stand for, their blocks along ``axis``."""
    moved = w.op("Sub", w.op("Cast", codes, to=TensorProto.FLOAT), w.constant(128.0))
    return w.op("Mul", moved, w.op("Unsqueeze", scales, w.constant([axis])))


def _dequantised(w: Writer, node: Node, spec: PerBlock) -> str:
    """The weight ``[in, out]`` in float, behind its stored codes."""

    def write() -> str:
        codes, scales = _weight(w, node, spec)
        out_channels, channels = w.float_weight(node, "weight").shape
        table = w.op("Reshape", _values(w, codes, scales, 2), w.constant([out_channels, -1]))
        return w.op("Transpose", _without_filling(w, table, channels, spec), perm=[1, 0])

    return w.once(("block weight", node.weights["weight"]), write)


def _rounded(w: Writer, node: Node, spec: PerBlock) -> str:
    """The input rounded block by block, in float."""
    x, channels, limit = node.inputs[0], w.float_weight(node, "weight").shape[1], float(code_limits(spec.bits)[1])
    filling = -channels % spec.size
    whole = w.op("Pad", x, w.constant([0, filling]), "", w.constant([-1])) if filling else x
    before = w.op("Shape", x, end=-1)
    blocks = w.op("Reshape", whole, w.op("Concat", before, w.constant([-1, spec.size]), axis=0))
    largest = w.op("ReduceMax", w.op("Abs", blocks), w.constant([-1]), keepdims=1)
    largest = w.op("Max", largest, w.constant(float(np.float32(SMALLEST_MAXIMUM))))
    steps = w.op("Round", w.op("Mul", blocks, w.op("Div", w.constant(limit), largest)))
    held = w.op("Mul", steps, w.op("Div", largest, w.constant(limit)))
    rows = w.op("Reshape", held, w.op("Concat", before, w.constant([-1]), axis=0))
    return _without_filling(w, rows, channels, spec)


def _without_filling(w: Writer, value: str, channels: int, spec: PerBlock, out: str | None = None) -> str:
    """The first ``channels`` along the last axis, where blocks reach beyond them."""
    if channels % spec.size:
        return w.op("Slice", value, w.constant([0]), w.constant([channels]), w.constant([-1]), out=out)
    return w.op("Identity", value, out=out) if out else value
