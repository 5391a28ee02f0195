"""A network as a flat list of named operations: one description, read by every room that follows.

The graph is what the simulator runs, the observer watches, the search quantises and the exporter writes out, so what
is measured and what is shipped cannot drift apart, and a projection hidden inside a fused call cannot escape
quantisation. Sequence values are channels-last, ``[batch, time, channels]``; attention values are
``[batch, heads, time, head_size]``. How a backend lays them out in memory is its own affair.

Adding an operation: a method here, a kernel in ``network/kernels.py`` and an emitter in ``export/emitters/__init__.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stablequant.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

#: Operations with weights, and the product of two activations, that have an int8 form.
QUANTISABLE = ("conv1d", "conv2d", "linear", "matmul")
#: Activation functions of transformers that compute the same as another one: which.
SAME_AS = {
    "gelu_python": "gelu",
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_accurate", "gelu_python_tanh"), "gelu_pytorch_tanh"),
    "swish": "silu",
}
#: Activation functions with parameters of their own, each a tensor of one number: name in the function's module -> its shape.
LEARNT: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "prelu": {"weight": (1,)},
    "xielu": {"alpha_p": (1,), "alpha_n": (1,), "beta": (), "eps": ()},
}
#: The least value of each activation function, rounded down to six digits: GELU x Phi(x) has it at x = -0.7518, SiLU at
#: -1.2785, Mish at -1.1925. A function without an entry has none, or none that its values come close to on both sides of 0.
LOWER_BOUNDS = {
    "gelu": -0.169972,
    "gelu_10": -0.169972,
    "gelu_pytorch_tanh": -0.170041,
    "quick_gelu": -0.163611,
    "silu": -0.278465,
    "mish": -0.308844,
    "hardswish": -0.375,
    **dict.fromkeys(("relu", "relu2", "relu6", "sigmoid", "laplace", "sqrtsoftplus"), 0.0),
}
LOWER_BOUNDS |= {name: LOWER_BOUNDS[same] for name, same in SAME_AS.items()}


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        kind: What it computes: ``"linear"``, ``"conv1d"``, ``"layer_norm"`` ...
        name: Unique in its graph; for an operation with weights, its path in the model's own module tree.
        inputs: Names of the values read. An empty string is an optional input left out.
        outputs: Names of the values written.
        attrs: Constants of the operation.
        weights: Role ("weight", "bias", "table") -> key in ``Graph.weights``.
        lengths: Name of the value ``[batch]`` that counts the valid time steps of the first input ("" if all are).
        shares: Name of the operation whose weight this one reads too ("" if it has its own, or none): an embedding, the head's.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    lengths: str = ""
    shares: str = ""

    @property
    def layer(self) -> str:
        """The layer that decides how its weight is quantised: its own, or the one that it shares the weight of."""
        return self.shares or self.name

    @property
    def activations(self) -> tuple[str, ...]:
        """The inputs that are quantised when the operation is: one, or two for a product of activations."""
        if self.kind not in QUANTISABLE:
            return ()
        return self.inputs[:2] if self.kind == "matmul" else self.inputs[:1]


@dataclass(frozen=True)
class Input:
    """A value fed from outside: ``dtype`` is "float32" or "int64", a named axis of ``shape`` is free."""

    name: str
    dtype: str
    shape: tuple[str | int, ...]


@dataclass(frozen=True)
class Output:
    """A value given out: ``carries`` names the input of the next step that it becomes ("" if of none)."""

    name: str
    dtype: str
    shape: tuple[str | int, ...]
    carries: str = ""


class Graph:
    """A network under construction, and afterwards its finished, ordered list of nodes."""

    def __init__(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Start an empty graph called ``name`` over ``weights`` (float32, keyed by their path in the model)."""
        self.name = name
        self.weights = weights
        self.inputs: list[Input] = []
        self.outputs: dict[str, Output] = {}
        #: Sizes that named axes have in every run, those of a window; runtimes are faster where a file says them.
        self.fixed: dict[str, int] = {}
        self.any_length = False
        self.nodes: list[Node] = []
        self.missing: list[str] = []
        self._counts: dict[str, int] = {}

    # -- construction ------------------------------------------------------------------------------------------------

    def input(self, name: str, dtype: str, shape: Sequence[str | int]) -> str:
        """Declare a value that is fed from outside."""
        self.inputs.append(Input(name, dtype, tuple(shape)))
        return name

    def output(
        self, value: str, name: str, shape: Sequence[str | int], *, dtype: str = "float32", carries: str = ""
    ) -> None:
        """Give ``value`` out under ``name``."""
        self.nodes.append(Node("identity", f"output.{name}", (value,), (name,)))
        self.outputs[name] = Output(name, dtype, tuple(shape), carries)

    def add(
        self,
        kind: str,
        *inputs: str,
        name: str = "",
        weights: Mapping[str, str] | None = None,
        lengths: str = "",
        shares: str = "",
        **attrs: Any,
    ) -> str:
        """Append an operation with one output and return the output's name.

        Every weight named is required: one that is not there is noted for ``check_weights``, which reports all at once.
        """
        return self._append(kind, inputs, 1, name, weights, lengths, shares, attrs)[0]

    def add_many(
        self, kind: str, *inputs: str, count: int, weights: Mapping[str, str] | None = None, **attrs: Any
    ) -> tuple[str, ...]:
        """Append an operation with ``count`` outputs and return their names."""
        return self._append(kind, inputs, count, "", weights, "", "", attrs)

    def _append(
        self,
        kind: str,
        inputs: tuple[str, ...],
        count: int,
        name: str,
        weights: Mapping[str, str] | None,
        lengths: str,
        shares: str,
        attrs: Mapping[str, Any],
    ) -> tuple[str, ...]:
        if not name:
            number = self._counts.get(kind, 0)
            self._counts[kind] = number + 1
            name = f"{kind}.{number}"
        outputs = tuple(f"{name}:{index}" for index in range(count))
        weights = dict(weights or {})
        self.missing += [key for key in weights.values() if key not in self.weights]
        self.nodes.append(Node(kind, name, inputs, outputs, attrs, weights, lengths, shares))
        return outputs

    def linear(self, x: str, name: str, lengths: str = "", *, bias: bool = True) -> str:
        """``x @ weight.T + bias`` over the last axis; weights are those of the module ``name``."""
        return self.add("linear", x, name=name, weights=_roles(name, bias), lengths=lengths)

    def activation(self, x: str, function: str, name: str) -> str:
        """An activation function, of the module ``name`` where it has parameters of its own."""
        weights = {role: f"{name}.{role}" for role in LEARNT.get(function, ())}
        return self.add("activation", x, weights=weights, function=function)

    def conv1d(
        self,
        x: str,
        name: str,
        lengths: str = "",
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        trim: int = 0,
        bias: bool = True,
    ) -> str:
        """Convolution over time, ``[B, T, C_in] -> [B, T', C_out]``; at the end there are ``trim`` steps less of padding."""
        kernel = self.kernel_size(name)
        attrs: dict[str, Any] = {"stride": stride, "padding": padding, "groups": groups, "trim": trim, "kernel": kernel}
        return self.add("conv1d", x, name=name, weights=_roles(name, bias), lengths=lengths, **attrs)

    def conv2d(
        self, x: str, name: str, lengths: str = "", *, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> str:
        """Convolution over bands and time, ``[B, F, T, C_in] -> [B, F', T', C_out]``, alike over both; it has a bias."""
        kernel = self.kernel_size(name)
        attrs: dict[str, Any] = {"stride": stride, "padding": padding, "groups": groups, "kernel": kernel}
        return self.add("conv2d", x, name=name, weights=_roles(name, True), lengths=lengths, **attrs)

    def kernel_size(self, name: str) -> int:
        """Width of the convolution ``name``; 0 while its weight is missing, which ``check_weights`` reports."""
        weight = self.weights.get(f"{name}.weight")
        return 0 if weight is None else int(weight.shape[2])

    def channels(self, name: str) -> int:
        """Output channels of the layer ``name``; 0 while its weight is missing."""
        weight = self.weights.get(f"{name}.weight")
        return 0 if weight is None else len(weight)

    def layer_norm(self, x: str, name: str, eps: float = 1e-5, *, bias: bool = True) -> str:
        """Layer normalisation over the last axis."""
        return self.add("layer_norm", x, name=name, weights=_roles(name, bias), eps=eps)

    def group_norm(self, x: str, name: str, lengths: str, *, groups: int, eps: float = 1e-5) -> str:
        """Group normalisation whose statistics leave padding out, so that a batch gives what its parts give."""
        return self.add("group_norm", x, lengths, name=name, weights=_roles(name, True), groups=groups, eps=eps)

    def sized(self, *, any_length: bool) -> Graph:
        """The same graph, for files that take ``any_length`` or the fixed one alone."""
        made = copy(self)
        made.any_length = any_length
        return made

    # -- reading -----------------------------------------------------------------------------------------------------

    @property
    def runs_in_steps(self) -> bool:
        """Whether an output becomes an input of the next step, as those of a decoder do: then its rows are few at a time."""
        return any(output.carries for output in self.outputs.values())

    def shape(self, value: Input | Output) -> list[str | int]:
        """The axes of an input or output as files have them: a size where it is the same in every run, else a name."""
        return [axis if self.any_length else self.fixed.get(str(axis), axis) for axis in value.shape]

    def lower_bound(self, node: Node) -> float | None:
        """The least value that the activation function behind a node's first input can give; ``None``: it has none."""
        source = next((n for n in self.nodes if node.inputs[0] in n.outputs), None)
        return LOWER_BOUNDS.get(source.attrs["function"]) if source and source.kind == "activation" else None

    def quantisable(self, *, matmuls: bool = False) -> list[Node]:
        """Nodes that have an int8 form, in execution order; attention's products only with ``matmuls``."""
        return [n for n in self.nodes if n.kind in QUANTISABLE and (matmuls or n.kind != "matmul")]

    def last_use(self) -> dict[str, int]:
        """For each value the index of the last node that reads it: after that it can be let go."""
        return {value: index for index, node in enumerate(self.nodes) for value in (*node.inputs, node.lengths)}


def receptive_field(convolutions: Iterable[tuple[int, int]]) -> int:
    """Samples that one frame behind a stack of unpadded ``convolutions`` (kernel, stride) looks at."""
    samples = 1
    for kernel, stride in reversed(list(convolutions)):
        samples = (samples - 1) * stride + kernel
    return samples


def check_weights(*graphs: Graph) -> None:
    """Make sure that every weight the graphs name is there; a family's builder ends with this.

    Raises:
        ModelError: Weights are missing; lists every one of them, over all graphs.
    """
    missing = list(dict.fromkeys(key for graph in graphs for key in graph.missing))
    if missing:
        what = f"the checkpoint lacks {len(missing)} of the weights its config.json calls for: {', '.join(missing)}"
        raise ModelError(what, expected="a complete checkpoint", fix="download or save the model again")


def _roles(name: str, bias: bool) -> dict[str, str]:
    roles = {"weight": f"{name}.weight"}
    return {**roles, "bias": f"{name}.bias"} if bias else roles
