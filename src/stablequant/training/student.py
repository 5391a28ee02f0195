"""The network under a scheme as a function of a checkpoint's parameters, with gradients: what is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablequant.errors import ModelError
from stablequant.families.family import Features
from stablequant.families.frontend import Frontend
from stablequant.families.parameters import FIXED, Parameters
from stablequant.families.weight_files import listed
from stablequant.grid.frame import ActivationSpec
from stablequant.grid.weights import WeightSpec, weight_scales
from stablequant.heads.head import Answer
from stablequant.network.execute import Executor, Values
from stablequant.network.fuse import fuse_attention
from stablequant.network.graph import Graph, Node
from stablequant.network.step_numbers import StepNumbers
from stablequant.quantize.scheme import Scheme, require_layers, require_rows
from stablequant.training.straight import kept_on_grid, straight_activation, straight_weight


def to_nearest(scheme: Scheme) -> Scheme:
    """The scheme with weights rounded to the nearest code: what calibration speech decides is not known while they change."""

    def plain(spec: WeightSpec | None) -> WeightSpec | None:
        return spec and replace(spec, rounding="nearest", correct_bias=False)

    return {name: replace(layer, weight=plain(layer.weight)) for name, layer in scheme.items()}


class Student:
    """A model whose parameters are trained for a scheme.

    Scales of weights are those of the checkpoint's own values throughout: found anew they would jump, and codes that were
    trained for the old ones with them.

    Attributes:
        frontend: Of the model.
        values: All parameters of its checkpoint by name; those that are trained have gradients.
        trained: The latter; what the network has no use for is not among them.
    """

    def __init__(self, frontend: Frontend, parameters: Parameters, scheme: Scheme) -> None:
        """Start from the checkpoint's own values.

        Args:
            frontend: Of the model.
            parameters: Of its checkpoint; left as they are.
            scheme: What it is trained for, weights to the nearest code (`to_nearest`).

        Raises:
            PlanError: The scheme does not fit the model.
            ModelError: Its family builds graphs from a parameter in a way that has no gradient.
        """
        self.frontend, self._scheme = frontend, scheme
        self._build, self._matmuls = parameters.build, any(layer.weight is None for layer in scheme.values())
        self.values = {
            name: value.detach().clone().requires_grad_(not FIXED.search(name))
            for name, value in parameters.values.items()
        }
        graphs = self._graphs()
        unread = self._unread(graphs)
        self.trained = {n: value for n, value in self.values.items() if value.requires_grad and n not in unread}
        nodes = [node for graph in graphs for node in graph.quantisable(matmuls=self._matmuls)]
        require_layers(scheme, [node.name for node in nodes])
        require_rows(scheme, nodes)
        self._scales = {layer: weight_scales(weight, spec) for layer, (weight, spec) in self._rounded(graphs).items()}

    def logits(self, features: Features, answers: Sequence[Answer]) -> list[Tensor]:
        """Logits ``[steps, V]`` of each utterance with their gradients; a decoder is given the tokens of ``answers``.

        Raises:
            ModelError: The model's head takes none with a gradient.
        """
        backend = self._backend()
        numbers = self.frontend.head.logits(backend, self.frontend.encode(backend, features), answers)
        if not hasattr(backend, "logits"):
            what = f"the head of {_class(self.frontend)} takes no logits that depend on its weights"
            raise ModelError(what, expected="a model with a CTC head or a decoder", fix="choose another model")
        return backend.at(numbers)

    def settled(self) -> dict[str, Tensor]:
        """All parameters as they are to be kept: those that are the weight of a layer of the scheme on its grid (`kept_on_grid`).

        A weight that is made of several parameters, such as a folded norm, is not on its grid.
        """
        names = {id(value): name for name, value in self.values.items()}
        found = {name: value.detach() for name, value in self.values.items()}
        for layer, (weight, spec) in self._rounded(self._graphs()).items():
            if (name := names.get(id(weight))) is not None:
                found[name] = kept_on_grid(weight, spec, self._scales[layer])
        return found

    def _rounded(self, graphs: Sequence[Graph]) -> dict[str, tuple[Tensor, WeightSpec]]:
        """The weight of each layer of the scheme that has one, and how it is rounded."""
        nodes = {node.name: (graph, node) for graph in graphs for node in graph.quantisable()}
        return {
            layer: (nodes[layer][0].weights[nodes[layer][1].weights["weight"]], chosen.weight)
            for layer, chosen in self._scheme.items()
            if chosen.weight is not None
        }

    def _graphs(self) -> Sequence[Graph]:
        with torch.enable_grad():
            return self._build(self.values)

    def _backend(self) -> _Differentiable:
        graphs = self._graphs()
        executors = {g.name: Executor(g if self._matmuls else fuse_attention(g)) for g in graphs}
        return _Differentiable(executors, _Rounded(self._scheme, self._scales))

    def _unread(self, graphs: Sequence[Graph]) -> list[str]:
        """Parameters that the network has no use for, by their lack of a gradient.

        Raises:
            ModelError: A family cuts what its graphs read off from a parameter, which would stay as it is without a word.
        """
        total = sum((w.sum() for w in _read(graphs) if w.requires_grad), torch.zeros((), requires_grad=True))
        names = [name for name, value in self.values.items() if value.requires_grad]
        found = torch.autograd.grad(total, [self.values[name] for name in names], allow_unused=True)
        without = [name for name, gradient in zip(names, found, strict=True) if gradient is None]
        nan = {name: torch.full_like(self.values[name], torch.nan) for name in without}
        if cut := [n for n in without if any(w.isnan().any() for w in _read(self._build({**self.values, n: nan[n]})))]:
            what = f"{_class(self.frontend)} cannot be fine-tuned: its graphs read {listed(cut)} without a gradient"
            raise ModelError(what, expected="a family whose build computes with the parameters themselves")
        return without


def _read(graphs: Sequence[Graph]) -> list[Tensor]:
    """Every weight that an operation reads, once."""
    weights = [g.weights[key] for g in graphs for node in g.nodes for key in node.weights.values()]
    return list({id(weight): weight for weight in weights}.values())


@dataclass
class _Rounded:
    """What every operation computes with in one step (an ``Operands``): each tensor and weight is rounded once."""

    scheme: Scheme
    scales: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        self._weights: dict[str, Tensor] = {}
        self._last: list[Any] = [None, None, None]  # q, k and v read one tensor on one grid

    def __call__(
        self, node: Node, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor], lengths: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
        layer = self.scheme.get(node.layer)
        if layer is None:
            return inputs, weights
        if layer.weight is not None:
            weights = {**weights, "weight": self._weight(node.layer, weights["weight"], layer.weight)}
        if node.activations:
            grids = layer.activations
            rounded = (self._activation(x, spec, node) for x, spec in zip(inputs, grids, strict=False))
            inputs = (*rounded, *inputs[len(grids) :])
        return inputs, weights

    def _weight(self, layer: str, weight: Tensor, spec: WeightSpec) -> Tensor:
        if layer not in self._weights:
            self._weights[layer] = straight_weight(weight, spec, self.scales[layer])
        return self._weights[layer]

    def _activation(self, x: Tensor, spec: ActivationSpec, node: Node) -> Tensor:
        key = spec, node.attrs.get("kernel"), node.attrs.get("stride")
        if self._last[0] is not x or self._last[1] != key:
            self._last[:] = x, key, straight_activation(x, spec, node)
        result: Tensor = self._last[2]
        return result


class _Differentiable(StepNumbers):
    """A backend whose outputs have gradients."""

    def __init__(self, executors: Mapping[str, Executor], operands: _Rounded) -> None:
        self._executors, self._operands = executors, operands

    def run(self, graph: str, feeds: Mapping[str, Any]) -> Values:
        """Outputs of ``graph`` by name."""
        executor = self._executors[graph]
        values = executor.run(feeds, self._operands, gradients=torch.is_grad_enabled())
        return {name: values[name] for name in executor.graph.outputs}

    def put(self, array: NDArray[Any]) -> Tensor:
        """As a tensor."""
        return torch.from_numpy(np.ascontiguousarray(array))


def _class(frontend: Frontend) -> str:
    return str((frontend.config.get("architectures") or ["this model"])[0])
