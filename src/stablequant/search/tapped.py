"""The float model with layers tapped: its backward pass tells of the rows that each reads and gives out, with their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablequant.network.execute import Executor
from stablequant.network.graph import Node
from stablequant.network.step_numbers import StepNumbers
from stablequant.quantize.simulate import Simulator, rows_of

#: Nodes of a graph whose inner values are computed again at a time: two layers of a transformer.
STRETCH = 32
#: Told of a lookup in a table that is a layer's weight: its node, what is looked up, gradients of the rows that are found.
TellTable = Callable[[Node, Tensor, Tensor], None]
#: What is told of a layer in the backward pass: its node, its input, the rows of it that the graph goes on with, their gradients,
#: and those of the rows that it gives out, where they are asked for.
Tell = Callable[[Node, Tensor, Tensor, Tensor, Tensor | None], None]


@dataclass
class Tapped(StepNumbers):
    """The float model as a backend that tells, in the backward pass, of the rows which layers read, and their gradients.

    A graph is run in stretches whose inner values are computed again when the backward pass comes to them, so that it holds
    those of one stretch at a time (Chen et al. 2016, arXiv 1604.06174).

    Attributes:
        simulator: Of the model.
        layers: Names of those to tell of.
        tell: Called once for each of them.
        outputs: Whether it is told of the gradients of what they give out,
        tell_table: and this of lookups in their weights.
        logits: ``[B, T, V]``, as the head fetched them.
        anchor: What every stretch depends on, so that the backward pass reaches the first, whose inputs have no gradient.
    """

    simulator: Simulator
    layers: frozenset[str]
    tell: Tell
    outputs: bool = False
    tell_table: TellTable = lambda node, ids, gradient: None
    logits: Tensor = field(default_factory=lambda: torch.empty(0))
    anchor: Tensor = field(default_factory=lambda: torch.zeros(0, requires_grad=True))

    def run(self, graph: str, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of ``graph`` by name."""
        executor = self.simulator.executors[graph]
        nodes, alive = executor.graph.nodes, dict(feeds)
        for start in range(0, len(nodes), STRETCH):
            stretch = _Stretch(executor, self, start, min(start + STRETCH, len(nodes)))
            read = {name for node in nodes[start : stretch.stop] for name in (*node.inputs, node.lengths)}
            stretch.inputs = [name for name in alive if name in read]
            outputs = _Recomputed.apply(  # type: ignore[no-untyped-call]
                stretch, self.anchor, *(alive[name] for name in stretch.inputs)
            )
            alive = {name: value for name, value in alive.items() if name not in stretch.dead}
            alive.update(zip(stretch.outputs, outputs, strict=True))
        return {name: alive[name] for name in executor.graph.outputs}

    def put(self, array: NDArray[Any]) -> Tensor:
        """As a tensor."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.simulator.device)


@dataclass
class _Stretch:
    """Nodes ``start`` to ``stop`` of a graph: names of the values they read from before, leave for later, and read last."""

    executor: Executor
    tapped: Tapped
    start: int
    stop: int
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    rows: list[tuple[Node, Tensor, Tensor]] = field(default_factory=list)
    given: dict[str, Tensor] = field(default_factory=dict)
    looked_up: dict[str, tuple[Node, Tensor]] = field(default_factory=dict)

    def run(self, values: Sequence[Tensor], *, keep: bool) -> list[Tensor]:
        """The values left for later; with ``keep`` the rows of layers are kept, each as a tensor of its own."""
        given, operands = dict(zip(self.inputs, values, strict=True)), self._keep if keep else None
        watch = self._seen if keep and self.tapped.outputs else None
        found = self.executor.run(given, operands, start=self.start, stop=self.stop, gradients=True, watch=watch)
        self.outputs = [name for name in found if name not in given]
        self.dead = given.keys() - found.keys()
        return [found[name] for name in self.outputs]

    def _keep(
        self, node: Node, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor], lengths: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
        """Keep a layer's input, and let the layer read it through a tensor of its own (an ``Operands``)."""
        if node.shares in self.tapped.layers:
            self.looked_up[node.name] = node, inputs[0]
        if node.name not in self.tapped.layers or not node.activations:
            return inputs, weights
        rows = rows_of(inputs[0], node)
        own = rows.view_as(rows) if rows.requires_grad else rows.detach().requires_grad_()
        self.rows.append((node, inputs[0].detach(), own))
        return (own, *inputs[1:]), weights

    def _seen(self, node: Node, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if node.name in self.looked_up:  # nothing before it has a gradient
            self.given[node.name] = outputs[0].detach().requires_grad_()
            return (self.given[node.name], *outputs[1:])
        if node.name in self.tapped.layers and node.activations:
            self.given[node.name] = outputs[0]
        return outputs


class _Recomputed(torch.autograd.Function):
    """A stretch as one operation: it keeps its inputs alone, and tells of its layers on the way back."""

    @staticmethod
    def forward(ctx: Any, stretch: _Stretch, anchor: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.stretch = stretch
        ctx.save_for_backward(*inputs)
        outputs = stretch.run([x.detach() for x in inputs], keep=False)
        ctx.mark_non_differentiable(*(y for y in outputs if not y.is_floating_point()))
        ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        stretch, needed = ctx.stretch, ctx.needs_input_grad[2:]
        inputs = [x.detach().requires_grad_(need) for x, need in zip(ctx.saved_tensors, needed, strict=True)]
        outputs = stretch.run(inputs, keep=True)
        pairs = [(y, g) for y, g in zip(outputs, gradients, strict=True) if g is not None and y.requires_grad]
        rows, given = stretch.rows, stretch.given
        sources = [*(own for _, _, own in rows), *given.values(), *(x for x in inputs if x.requires_grad)]
        if not sources or not pairs:  # nothing that anybody asks for
            return None, None, *(None for _ in needed)
        found = torch.autograd.grad([y for y, _ in pairs], sources, [g for _, g in pairs], allow_unused=True)
        # A layer that no output depends on has no gradient.
        known = [torch.zeros_like(x) if g is None else g for x, g in zip(sources, found, strict=True)]
        behind = dict(zip(given, known[len(rows) :], strict=False))
        for (node, x, own), gradient in zip(rows, known, strict=False):
            stretch.tapped.tell(node, x, own.detach(), gradient, behind.get(node.name))
        for name, (node, ids) in stretch.looked_up.items():
            if name in behind:
                stretch.tapped.tell_table(node, ids, behind[name])
        left = iter(found[len(rows) + len(given) :])
        rows.clear()
        given.clear()
        stretch.looked_up.clear()
        return None, None, *(next(left) if need else None for need in needed)
