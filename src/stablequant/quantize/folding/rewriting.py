"""A model under change: nodes and weights of its graphs, until they are a model again that computes the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from stablequant.families.model import SpeechModel
from stablequant.families.scaled_weights import ScaledWeights, Scaling
from stablequant.network.graph import Graph, Node

if TYPE_CHECKING:
    from torch import Tensor


class Rewriting:
    """Copies of a model's graphs that may be changed; the model itself stays as it is.

    Attributes:
        graphs: By name. Their nodes may be exchanged; weights go through `weight` and `put`.
    """

    def __init__(self, model: SpeechModel) -> None:
        """Start with what ``model`` is."""
        self._model = model
        self.graphs: dict[str, Graph] = {}
        self._weights: dict[str, ScaledWeights] = {}
        for graph in model.graphs:
            made = copy(graph)
            made.nodes = list(graph.nodes)
            made.weights = self._weights[graph.name] = ScaledWeights(graph.weights)
            self.graphs[graph.name] = made

    def node(self, graph: str, name: str) -> Node:
        """The operation ``name`` as it is now."""
        return self.graphs[graph].nodes[self._index(graph, name)]

    def readers(self, graph: str, value: str) -> Iterator[Node]:
        """The operations that read ``value``."""
        return (node for node in self.graphs[graph].nodes if value in node.inputs)

    def source(self, graph: str, value: str) -> Node | None:
        """The operation that writes ``value``; ``None`` for an input of the graph."""
        return next((node for node in self.graphs[graph].nodes if value in node.outputs), None)

    def exchange(self, graph: str, new: Node) -> None:
        """Put ``new`` in the place of the operation of its name."""
        self.graphs[graph].nodes[self._index(graph, new.name)] = new

    def insert(self, graph: str, new: Node, *, before: str = "", after: str = "") -> None:
        """Put ``new`` before or after the operation of that name."""
        index = self._index(graph, before) if before else self._index(graph, after) + 1
        self.graphs[graph].nodes.insert(index, new)

    def reroute(self, graph: str, old: str, new: str, names: Sequence[str]) -> None:
        """Let the operations ``names`` read the value ``new`` wherever they read ``old``."""
        for name in names:
            node = self.node(graph, name)
            self.exchange(graph, replace(node, inputs=tuple(new if i == old else i for i in node.inputs)))

    def is_shared(self, key: str) -> bool:
        """Whether several operations read the weight at ``key``."""
        return sum(k == key for g in self.graphs.values() for n in g.nodes for k in n.weights.values()) > 1

    def weight(self, graph: str, name: str, role: str) -> Tensor | None:
        """A weight of an operation in float64; ``None`` where it has none of that role."""
        key = self.node(graph, name).weights.get(role)
        return None if key is None else self.graphs[graph].weights[key].double()

    def put(self, graph: str, name: str, role: str, weight: Tensor) -> None:
        """Give an operation a weight, rounded to float32; one that others read too stays theirs, and this one gets its own."""
        self._weights[graph].put(self._own(graph, name, role), weight.float().contiguous())

    def scale(self, graph: str, name: str, role: str, scaling: Scaling) -> None:
        """Multiply an operation's weight by factors; one that others read too stays theirs as it is."""
        before = self.node(graph, name).weights[role]
        self._weights[graph].scale(self._own(graph, name, role), scaling, before)

    def model(self, notes: Sequence[str] = ()) -> SpeechModel:
        """The model that came out; its fingerprint follows from the old one and from how each weight is another."""
        hashed, added = hashlib.sha256(self._model.fingerprint.encode()), {}
        for weights in self._weights.values():
            for key, how, more in weights.changed():
                hashed.update(f"{key}:".encode() + how)
                added[key] = more
        notes = (*self._model.notes, *notes)
        if not added:
            return replace(self._model, notes=notes)
        return replace(
            self._model,
            graphs=tuple(self.graphs.values()),
            fingerprint=hashed.hexdigest(),
            float_bytes=self._model.float_bytes + 4 * sum(added.values()),
            notes=notes,
        )

    def _own(self, graph: str, name: str, role: str) -> str:
        """The key of a weight that an operation has for itself, of one that others read too a new one."""
        node = self.node(graph, name)
        key = node.weights.get(role)
        if key is None or self.is_shared(key):
            key = f"{name}.{role}"
            while any(key in g.weights for g in self.graphs.values()):
                key = f"{key}_own"
        # What shares a weight in a file is one tensor; these are two from now on.
        self.exchange(graph, replace(node, weights={**node.weights, role: key}, shares=""))
        for other in [n for n in self.graphs[graph].nodes if n.shares == name]:
            self.exchange(graph, replace(other, shares=""))
        return key

    def _index(self, graph: str, name: str) -> int:
        return next(i for i, node in enumerate(self.graphs[graph].nodes) if node.name == name)
