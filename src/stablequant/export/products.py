"""How linear layers and convolutions are written in ONNX, with int8 operands where the scheme has them."""

from __future__ import annotations

from collections.abc import Callable

from stablequant.export.onnx import Writer
from stablequant.models.graph import Node

#: As the end of a slice: behind the last step.
LAST = 2**31 - 1


def linear(w: Writer, node: Node) -> None:
    """A matrix product, and the bias by itself: as one node, a Gemm, ONNX Runtime has no int8 kernel of it."""
    weight = w.weight(node, transposed=True)

    def multiply(x: str, out: str | None = None) -> str:
        return w.op("MatMul", x, weight, out=out)

    if "bias" in node.weights:
        product = _product(w, node, node.inputs[0], multiply, f"{node.name}.product")
        w.op("Add", product, w.parameter(node, "bias"), out=node.outputs[0])
    else:
        _product(w, node, node.inputs[0], multiply, node.outputs[0])


def conv1d(w: Writer, node: Node) -> None:
    """A convolution over ``[B, T, C]``; ONNX wants time last, so the axes are turned before and after it."""
    if w.in_windows(node):
        _in_windows(w, node)
        return
    a = node.attrs
    weight = w.weight(node, transposed=False)
    pads = [a["padding"], a["padding"] - a["trim"]]  # one step less of padding is one step less at the end
    shape = {"kernel_shape": [a["kernel"]], "strides": [a["stride"]], "pads": pads, "group": a["groups"]}
    bias = [w.parameter(node, "bias")] if "bias" in node.weights else []
    x, strict = node.inputs[0], w.recipe.strict

    def turned(x: str) -> str:
        return w.op("Transpose", x, perm=[0, 2, 1])

    def multiply(x: str, out: str | None = None) -> str:
        # Of two planes one alone may bring the bias.
        return w.op("Conv", x if strict else turned(x), weight, *(bias.pop() for _ in bias[:]), out=out, **shape)

    y = _product(w, node, turned(x) if strict else x, multiply, f"{node.name}.product")
    w.op("Transpose", y, perm=[0, 2, 1], out=node.outputs[0])


def _in_windows(w: Writer, node: Node) -> None:
    """A convolution as a linear layer over the windows that its kernel sees, put side by side as codes of 8 bits.

    ONNX Runtime has an int8 kernel of that, and none of a convolution whose output is not on a grid.
    """
    (params,) = w.quantised(node.name) or ()
    kernel, codes = node.attrs["kernel"], w.codes(node.inputs[0], params)
    axis, stride = w.constant([1]), w.constant([node.attrs["stride"]])
    parts = [
        w.op("Slice", codes, w.constant([i]), w.constant([i - kernel + 1 or LAST]), axis, stride) for i in range(kernel)
    ]
    windows = w.dequantised(w.op("Concat", *parts, axis=2) if kernel > 1 else parts[0], params)
    bias = "bias" in node.weights
    product = w.op("MatMul", windows, w.weight(node, transposed=True), out=None if bias else node.outputs[0])
    if bias:
        w.op("Add", product, w.parameter(node, "bias"), out=node.outputs[0])


def _product(w: Writer, node: Node, x: str, multiply: Callable[..., str], out: str) -> str:
    """``multiply`` of ``x``, which is rounded where the scheme says so.

    Two planes are multiplied one by one and the products added, or added and multiplied once where the target's kernel is a
    float one anyway. Either way the operands are the same codes of 8 bits.
    """
    params = w.quantised(node.name)
    if params is None:
        return multiply(x, out=out)
    held = w.activation(x, params[0])
    if params[0].planes == 1:
        return multiply(held, out=out)
    rest = w.remainder(x, params[0])
    if w.products(node) == 1:
        return multiply(w.op("Add", held, rest), out=out)
    return w.op("Add", multiply(held), multiply(rest), out=out)
