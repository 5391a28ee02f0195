"""How activation functions are written in ONNX: as its own operator where it has one."""

from __future__ import annotations

from typing import Any

from stablequant.export.writer import Writer
from stablequant.network.graph import SAME_AS, Node
from stablequant.network.kernels import LAPLACE

#: Function -> ONNX operator and its attributes.
OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "hardswish": ("HardSwish", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "linear": ("Identity", {}),
    "mish": ("Mish", {}),
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
}


def activation(w: Writer, node: Node) -> None:
    """An activation function, by the name that transformers gives it."""
    x, out = node.inputs[0], node.outputs[0]
    function = SAME_AS.get(node.attrs["function"], node.attrs["function"])
    if function in OPERATORS:
        kind, attributes = OPERATORS[function]
        w.op(kind, x, out=out, **attributes)
    elif function == "silu":
        w.op("Mul", x, w.op("Sigmoid", x), out=out)
    elif function == "quick_gelu":
        w.op("Mul", x, w.op("Sigmoid", w.op("Mul", x, w.constant(1.702))), out=out)
    elif function == "gelu_10":
        w.op("Clip", w.op("Gelu", x), w.constant(-10.0), w.constant(10.0), out=out)
    elif function == "relu2":
        held = w.op("Relu", x)
        w.op("Mul", held, held, out=out)
    elif function == "relu6":
        w.op("Clip", x, w.constant(0.0), w.constant(6.0), out=out)
    else:
        middle, width = LAPLACE
        whole = w.op("Erf", w.op("Div", w.op("Sub", x, w.constant(middle)), w.constant(width)))
        w.op("Mul", w.op("Add", whole, w.constant(1.0)), w.constant(0.5), out=out)
