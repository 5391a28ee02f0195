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
from stablequant.grid.unrounded import Unrounded
from stablequant.grid.weights import PerGroup
from stablequant.network.graph import Node

#: ``accuracy_level`` of MatMulNBits: activations are rounded to 8 bits before they are multiplied,
INT8 = 4
#: or multiplied as they are.
FLOAT = 1

#: What such a layer's input is.
InBlocks = PerBlock | Unrounded


def linear(w: Writer, node: Node, spec: InBlocks) -> None:
    """The product of the input, rounded or not, and weights, and the bias."""
    out, bias = node.outputs[0], [w.parameter(node, "bias")] if "bias" in node.weights else []
    if w.target.block_kernel:
        codes, scales = _weight(w, node)
        out_channels, channels = w.float_weight(node, "weight").shape
        # Its inputs between scales and bias, zero points and an order of channels, are left out.
        rest = ["", "", *bias] if bias else []
        shape = {"K": channels, "N": out_channels, "bits": _bits(w, node), "block_size": _size(w, node)}
        level = INT8 if isinstance(spec, PerBlock) else FLOAT
        x = node.inputs[0]
        w.op("MatMulNBits", x, codes, scales, *rest, out=out, domain=MICROSOFT, accuracy_level=level, **shape)
        return
    x, weight = node.inputs[0], _dequantised(w, node)
    if isinstance(spec, PerBlock):
        x = w.once(("block", x, spec), lambda: _rounded(w, node, spec))
    if bias:
        w.op("Add", w.op("MatMul", x, weight), *bias, out=out)
    else:
        w.op("MatMul", x, weight, out=out)


def rows(w: Writer, node: Node) -> None:
    """Rows of a table that is stored as a linear layer's weight."""
    ids = node.inputs[0]
    codes, scales = _weight(w, node)
    narrow = _bits(w, node) < 8
    if narrow and not w.target.block_kernel:  # Gather takes bytes at least
        codes = w.once(("bytes", codes), lambda: w.op("Cast", codes, to=TensorProto.UINT8))
    gathered = w.op("Gather", codes, ids)
    if narrow and w.target.block_kernel:
        gathered = _unpacked(w, gathered, _bits(w, node))
    found = _values(w, node, gathered, w.op("Gather", scales, ids), 3)
    _without_filling(w, node, w.op("Reshape", found, w.constant([0, 0, -1])), node.outputs[0])


def packed(codes: NDArray[np.int8], size: int, bits: int) -> NDArray[np.uint8]:
    """Signed codes ``[out, in]`` as ``MatMulNBits`` stores them: ``[out, blocks, size * bits / 8]``, moved to start at 0.

    The last block is filled up with the code of zero; of codes narrower than a byte the first lies lowest in it.
    """
    zero = 1 << (bits - 1)
    moved = np.pad(codes.astype(np.int16) + zero, ((0, 0), (0, -codes.shape[1] % size)), constant_values=zero)
    parts = moved.astype(np.uint8).reshape(len(codes), -1, size * bits // 8, 8 // bits)
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(parts << (bits * np.arange(8 // bits, dtype=np.uint8)), axis=3)
    return packed


def _bits(w: Writer, node: Node) -> int:
    """Of a code of the weight."""
    return w.quantised_weight(node).spec.bits


def _size(w: Writer, node: Node) -> int:
    """Weights in a block."""
    per = w.quantised_weight(node).spec.per
    assert isinstance(per, PerGroup)
    return per.size


def _weight(w: Writer, node: Node) -> tuple[str, str]:
    """Codes ``[out, blocks, size]`` and scales ``[out, blocks]`` of a weight as initialisers.

    The codes of MatMulNBits that are narrower than a byte lie in bytes ``[out, blocks, size * bits / 8]``; elsewhere ONNX has a
    type of their width.
    """
    key, held, bits, size = node.weights["weight"], w.quantised_weight(node), _bits(w, node), _size(w, node)
    codes = packed(held.codes.numpy(), size, bits)
    scales = w.constant(held.scales.numpy(), np.float32, f"{key}.blocks.scale")
    if bits == 8 or w.target.block_kernel:
        return w.constant(codes, np.uint8, f"{key}.blocks"), scales
    return w.nibbles(codes, (*codes.shape[:2], size), f"{key}.blocks"), scales


def _unpacked(w: Writer, codes: str, bits: int) -> str:
    """Codes of bytes that hold several each, the first lowest: ``[..., bytes]`` as ``[..., bytes, 8 / bits]``."""
    whole = w.op("Unsqueeze", codes, w.constant([-1]))
    places = w.constant(np.arange(0, 8, bits), np.uint8)
    return w.op(
        "BitwiseAnd",
        w.op("BitShift", whole, places, direction="RIGHT"),
        w.constant(np.array((1 << bits) - 1), np.uint8),
    )


def _values(w: Writer, node: Node, codes: str, scales: str, axis: int) -> str:
    """What stored codes stand for, their blocks before ``axis``."""
    moved = w.op("Sub", w.op("Cast", codes, to=TensorProto.FLOAT), w.constant(float(1 << (_bits(w, node) - 1))))
    if w.target.block_kernel and _bits(w, node) < 8:
        moved = w.op("Reshape", moved, w.constant([0, 0, 0, -1]))
    return w.op("Mul", moved, w.op("Unsqueeze", scales, w.constant([axis])))


def _dequantised(w: Writer, node: Node) -> str:
    """The weight ``[in, out]`` in float, behind its stored codes."""

    def write() -> str:
        codes, scales = _weight(w, node)
        table = w.op(
            "Reshape", _values(w, node, codes, scales, 2), w.constant([w.float_weight(node, "weight").shape[0], -1])
        )
        return w.op("Transpose", _without_filling(w, node, table), perm=[1, 0])

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
    return _without_filling(w, node, rows)


def _without_filling(w: Writer, node: Node, value: str, out: str | None = None) -> str:
    """The first channels along the last axis, where blocks reach beyond those that the layer has."""
    channels = w.float_weight(node, "weight").shape[1]
    if channels % _size(w, node):
        return w.op("Slice", value, w.constant([0]), w.constant([channels]), w.constant([-1]), out=out)
    return w.op("Identity", value, out=out) if out else value
