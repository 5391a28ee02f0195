"""How linear layers and convolutions are written in ONNX, with int8 operands where the scheme has them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stablequant.export.emitters import blocks, frames
from stablequant.export.emitters.lengths import counted, steps
from stablequant.export.writer import Writer
from stablequant.grid.affine import QuantParams
from stablequant.grid.frame import PerFrame
from stablequant.network.graph import Node


def _as_it_is(value: str) -> str:
    return value


def linear(w: Writer, node: Node, moved: Callable[[str], str] = _as_it_is) -> None:
    """A matrix product, and the bias by itself: as one node, a Gemm, ONNX Runtime has no int8 kernel of it.

    ``moved`` is done to the input, if it is quantised to its codes of 8 bits, before it is multiplied.
    """
    grids = w.grids(node)
    if grids and isinstance(grids[0], blocks.InBlocks):
        blocks.linear(w, node, grids[0])
        return
    weight = w.weight(node, transposed=True)

    def multiply(x: str, out: str | None = None) -> str:
        return w.op("MatMul", x, weight, out=out)

    spec = _by_frame(w, node)
    if spec is not None:
        frames.product(w, node, spec, multiply, None)
    elif "bias" in node.weights:
        product = _product(w, node, node.inputs[0], multiply, f"{node.name}.product", moved)
        w.op("Add", product, w.parameter(node, "bias"), out=node.outputs[0])
    else:
        _product(w, node, node.inputs[0], multiply, node.outputs[0], moved)


def conv1d(w: Writer, node: Node) -> None:
    """A convolution over ``[B, T, C]``; ONNX wants time last, so the axes are turned before and after it."""
    if w.in_windows(node):
        _in_windows(w, node)
        return
    a = node.attrs
    weight = w.weight(node, transposed=False)
    pads = [a["padding"], a["padding"] - a["trim"]]
    shape = {"kernel_shape": [a["kernel"]], "strides": [a["stride"]], "pads": pads, "group": a["groups"]}
    bias = [w.parameter(node, "bias")] if "bias" in node.weights else []
    x, strict = node.inputs[0], w.target.strict

    def turned(x: str) -> str:
        return w.op("Transpose", x, perm=[0, 2, 1])

    def multiply(x: str, out: str | None = None) -> str:
        # Of two planes one alone may bring the bias.
        return w.op("Conv", x if strict else turned(x), weight, *(bias.pop() for _ in bias[:]), out=out, **shape)

    y = _product(w, node, turned(x) if strict else x, multiply, f"{node.name}.product")
    w.op("Transpose", y, perm=[0, 2, 1], out=node.outputs[0])


def conv2d(w: Writer, node: Node) -> None:
    """A convolution over ``[B, F, T, C]``; ONNX wants channels first, so the axes are turned before and after it."""
    a = node.attrs
    weight = w.weight(node, transposed=False)
    shape = {"kernel_shape": [a["kernel"]] * 2, "strides": [a["stride"]] * 2, "pads": [a["padding"]] * 4}
    bias = w.parameter(node, "bias")
    apart = w.target.bias_apart and w.rounded_next(node.outputs[0])
    within = [] if apart else [bias]

    def multiply(x: str, out: str | None = None) -> str:
        # Of two planes one alone may bring the bias.
        return w.op("Conv", x, weight, *(within.pop() for _ in within[:]), out=out, group=a["groups"], **shape)

    x = w.op("Transpose", node.inputs[0], perm=[0, 3, 1, 2])
    y = _product(w, node, x, multiply, f"{node.name}.product")
    turned = w.op("Transpose", y, perm=[0, 2, 3, 1], out=None if apart else node.outputs[0])
    if apart:
        w.op("Add", turned, bias, out=node.outputs[0])


def _in_windows(w: Writer, node: Node) -> None:
    """A convolution as a linear layer over the windows that its kernel sees.

    ONNX Runtime has an int8 kernel of that, and none of a convolution whose output is not on a grid. OpenVINO has both, but
    turns the axes of a convolution's input and output round, which is more work than gathering windows.
    """
    width = node.attrs["kernel"] * w.float_weight(node, "weight").shape[1]

    def gathered(value: str) -> str:
        return w.op("Gather", value, w.once(("windows", node.name), lambda: _window_steps(w, node)), axis=1)

    def padded(codes: str) -> str:
        """With the codes of zero on both sides."""
        a, grids = node.attrs, w.grids(node)
        if not a["padding"]:
            return codes
        assert grids is not None and isinstance(grids[0], QuantParams)
        pads = w.constant([0, a["padding"], 0, 0, a["padding"] - a["trim"], 0])
        return w.op("Pad", codes, pads, w.zero_point(grids[0]))

    spec = _by_frame(w, node)
    if spec is None:
        linear(w, node, lambda held: w.op("Reshape", gathered(padded(held)), w.constant([0, 0, width])))
        return
    weight = w.weight(node, transposed=True)
    frames.product(w, node, spec, lambda x: w.op("MatMul", x, weight), gathered)


def _by_frame(w: Writer, node: Node) -> PerFrame | None:
    """How a node's input is rounded, if with a scale a frame."""
    grids = w.grids(node)
    return grids[0] if grids and isinstance(grids[0], PerFrame) else None


def _window_steps(w: Writer, node: Node) -> str:
    """``[T', kernel]``: which steps of the input each window holds."""
    a = node.attrs
    kernel, stride = w.constant(np.array(a["kernel"])), w.constant(np.array(a["stride"]))
    count = steps(w, node.inputs[0], 1)
    if a["padding"]:
        count = w.op("Add", count, w.constant(np.array(2 * a["padding"] - a["trim"])))
    room = w.op("Sub", w.op("Add", count, stride), kernel)
    numbers = counted(w, w.constant(np.array(0)), w.op("Div", room, stride))
    first = w.op("Unsqueeze", w.op("Mul", numbers, stride), w.constant([1]))
    return w.op("Add", first, w.constant(list(range(a["kernel"]))))


def _product(
    w: Writer, node: Node, x: str, multiply: Callable[..., str], out: str, moved: Callable[[str], str] = _as_it_is
) -> str:
    """``multiply`` of ``x``, which is rounded where the scheme says so.

    Two planes are multiplied one by one and the products added, or added and multiplied once where the target's kernel is a
    float one anyway. Either way the operands are the same codes of 8 bits.
    """
    grids = w.grids(node)
    if grids is None:
        return multiply(moved(x), out=out)
    params = grids[0]
    assert isinstance(params, QuantParams)  # what is rounded by frame has a form of its own

    def rounded(value: str, grid: QuantParams) -> str:
        return w.activation(value, grid) if moved is _as_it_is else w.dequantised(moved(w.codes(value, grid)), grid)

    held = rounded(x, params)
    if params.planes == 1:
        return multiply(held, out=out)
    rest = rounded(w.remainder(x, params), params.remainder)
    if w.products(node) == 1:
        return multiply(w.op("Add", held, rest), out=out)
    return w.op("Add", multiply(held), multiply(rest), out=out)
