"""How activation functions are written in ONNX: as its own operator where it has one."""

from __future__ import annotations

from typing import Any

import torch

from stablequant.export.writer import Writer
from stablequant.network.activations import LAPLACE, xielu_factors
from stablequant.network.graph import LEARNT, SAME_AS, Node

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
#: Below this `sqrtsoftplus` is computed by its series, of which the next term is a millionth of the first.
SERIES = -6.0


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
    elif function == "prelu":
        w.op("PRelu", x, w.parameter(node, "weight"), out=out)
    elif function == "xielu":
        _xielu(w, node)
    elif function == "sqrtsoftplus":
        _sqrtsoftplus(w, x, out)
    else:
        middle, width = LAPLACE
        whole = w.op("Erf", w.op("Div", w.op("Sub", x, w.constant(middle)), w.constant(width)))
        w.op("Mul", w.op("Add", whole, w.constant(1.0)), w.constant(0.5), out=out)


def _xielu(w: Writer, node: Node) -> None:
    """With its two factors worked out, and what lies above 0 kept from the exponential."""
    x, parameters = node.inputs[0], (torch.from_numpy(w.float_weight(node, role)) for role in LEARNT["xielu"])
    above, below, slope, eps = (w.constant(factor.item()) for factor in xielu_factors(*parameters))
    curve = w.op("Sub", w.op("Sub", w.op("Exp", w.op("Min", x, eps)), w.constant(1.0)), x)
    positive = w.op("Greater", x, w.constant(0.0))
    bend = w.op("Where", positive, w.op("Mul", above, w.op("Mul", x, x)), w.op("Mul", below, curve))
    w.op("Add", w.op("Mul", slope, x), bend, out=node.outputs[0])


def _sqrtsoftplus(w: Writer, x: str, out: str) -> None:
    """Far below 0 by the first two terms of its series there, exp(x / 2) (1 - exp(x) / 4): runtimes' softplus is 0 too early."""
    near = w.op("Sqrt", w.op("Softplus", w.op("Max", x, w.constant(SERIES))))
    whole = w.op("Exp", w.op("Min", x, w.constant(SERIES)))
    far = w.op("Mul", w.op("Sqrt", whole), w.op("Sub", w.constant(1.0), w.op("Mul", whole, w.constant(0.25))))
    w.op("Where", w.op("Greater", x, w.constant(SERIES)), near, far, out=out)
