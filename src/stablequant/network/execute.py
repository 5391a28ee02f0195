"""Run a graph, or a stretch of it, in PyTorch.

Running a stretch is what makes a search affordable: the values alive between two nodes are a complete state, so a
trial that changes one operation starts there instead of at the waveform.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablequant.network.graph import Graph, Node
from stablequant.network.kernels import KERNELS, Kernel
from stablequant.network.work import multiplications

#: Called before each operation that has an int8 form, and before an embedding that shares such an operation's weight:
#: takes the node, its inputs, its weights by role and the valid steps ``[B]`` of its first input (``None``: all), and
#: returns the inputs and weights to compute with.
Operands = Callable[
    [Node, tuple[Tensor, ...], Mapping[str, Tensor], Tensor | None],
    tuple[tuple[Tensor, ...], Mapping[str, Tensor]],
]

#: Called after each operation with the node and its outputs; returns those to go on with.
Watch = Callable[[Node, tuple[Tensor, ...]], tuple[Tensor, ...]]

Values = dict[str, Tensor]


class Executor:
    """Executes one graph; holds the order in which values may be let go, and its weights where they are on a device.

    Attributes:
        graph: What is executed.
        device: Where weights and values live.
        work: Multiplications done so far in products, by node, over all calls.
    """

    def __init__(self, graph: Graph, kernels: Mapping[str, Kernel] = KERNELS) -> None:
        """Prepare ``graph`` for execution with ``kernels``, by kind of node."""
        self.graph = graph
        self._kernels = kernels
        self.device = "cpu"
        self.work: Counter[str] = Counter()
        self._last_use = graph.last_use()
        self._weights: dict[str, Tensor] | None = None

    def to(self, device: str) -> None:
        """Compute on ``device`` from now on."""
        self.device = device
        keys = dict.fromkeys(key for node in self.graph.nodes for key in node.weights.values())
        self._weights = {key: self.graph.weights[key].to(device) for key in keys}

    def weights(self, node: Node) -> dict[str, Tensor]:
        """The weights of ``node`` by role. On the processor they are the graph's own, not held here, so that it can let go."""
        held = self.graph.weights if self._weights is None else self._weights
        return {role: held[key] for role, key in node.weights.items()}

    def run(
        self,
        values: Mapping[str, Tensor],
        operands: Operands | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        gradients: bool = False,
        watch: Watch | None = None,
    ) -> Values:
        """Compute nodes ``start`` to ``stop`` from the values alive before ``start``.

        Args:
            values: The graph's inputs, or for ``start`` > 0 what an earlier call with ``stop=start`` returned.
                The mapping is left as it is.
            operands: What every quantisable operation computes with; ``None`` leaves it in float.
            start: First node to compute.
            stop: First node not to compute; default: all.
            gradients: Whether PyTorch keeps what a backward pass needs.
            watch: Shown the outputs of every operation.

        Returns:
            The values still alive after the last computed node, the graph's outputs among them.
        """
        alive = dict(values)
        stop = len(self.graph.nodes) if stop is None else stop
        with torch.enable_grad() if gradients else torch.inference_mode():
            for index in range(start, stop):
                node = self.graph.nodes[index]
                inputs = tuple(alive[name] for name in node.inputs)
                weights: Mapping[str, Tensor] = self.weights(node)
                if operands is not None and (node.activations or node.shares):
                    inputs, weights = operands(node, inputs, weights, alive[node.lengths] if node.lengths else None)
                outputs = self._kernels[node.kind](node, inputs, weights)
                self.work[node.name] += multiplications(node, inputs, weights, outputs)
                if watch is not None:
                    outputs = watch(node, outputs)
                alive.update(zip(node.outputs, outputs, strict=True))
                for name in (*node.inputs, node.lengths):
                    if self._last_use.get(name) == index and name not in self.graph.outputs:
                        alive.pop(name, None)
        return alive


class TorchBackend:
    """A model's graphs in PyTorch behind the interface that decoding uses, in float or with given operands."""

    def __init__(self, executors: Mapping[str, Executor], operands: Operands | None = None) -> None:
        """Bind ``operands`` to ``executors``, by graph name."""
        self._executors = executors
        self._operands = operands

    def run(self, graph: str, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of ``graph`` by name."""
        executor = self._executors[graph]
        values = executor.run(feeds, self._operands)
        return {name: values[name] for name in executor.graph.outputs}

    def put(self, array: NDArray[Any]) -> Tensor:
        """As a tensor."""
        device = next(iter(self._executors.values())).device
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    def get(self, array: Tensor) -> NDArray[Any]:
        """As an array."""
        result: NDArray[Any] = array.cpu().numpy()
        return result
