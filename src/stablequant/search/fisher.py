"""What each layer's rounding costs in divergence, estimated for every scheme at once from a gradient: no trial a layer.

Rounding adds an error d to the rows that a layer reads. To second order the divergence of the model's outputs that it causes is
half of d' J' F J d (Kullback 1959, chapter 2), with J the Jacobian of the logits in those rows and F = diag(p) - p p' the Fisher
information of the softmax p in its logits. For random signs e the mean of u u', u = sqrt(p) e - p (sqrt(p) . e), is F, so one
backward pass from u gives, in g = J' u, an unbiased estimate for all layers (Hutchinson 1990). Rounding errors of different rows
are taken as independent:

    nats of an utterance ~ 1/2 sum over rows of (g . d)^2

With h = J_y' u, the gradient in the rows y = W x that a layer gives out, the error D of its weights likewise costs
1/2 sum over rows of (h . D x)^2. It is left out where the schemes of a choice share their weights, or have finer ones where they
have a scale a block. bench/objective.py compares the estimate with trials.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablequant.files import digest
from stablequant.network.execute import Executor
from stablequant.network.graph import Node
from stablequant.quantize.scheme import LayerScheme, in_rows
from stablequant.quantize.simulate import Simulator, fake_quantize, windows
from stablequant.search.trials import Trials

#: A backward pass multiplies about twice as often as a forward one.
BACKWARD = 2
#: Nodes of a graph whose inner values are computed again at a time: two layers of a transformer.
STRETCH = 32
#: Seed of the signs.
SEED = 0

#: Layer -> scheme's name -> the scheme.
Options = Mapping[str, Mapping[str, LayerScheme]]
#: Layer -> scheme's name -> nats a step that the layer's rounding costs under it.
Errors = dict[str, dict[str, float]]


#: What is told of a layer in the backward pass: its node, its input, the rows of it that the graph goes on with, their gradients,
#: and those of the rows that it gives out, where they are asked for.
Tell = Callable[[Node, Tensor, Tensor, Tensor, Tensor | None], None]


@dataclass
class Tapped:
    """The float model as a backend that tells, in the backward pass, of the rows which layers read, and their gradients.

    A graph is run in stretches whose inner values are computed again when the backward pass comes to them, so that it holds
    those of one stretch at a time (Chen et al. 2016, arXiv 1604.06174).

    ``get`` hands out, in place of logits, the number of the step that each was computed for: a head picks the valid ones of
    these as it does of logits.

    Attributes:
        simulator: Of the model.
        layers: Names of those to tell of.
        tell: Called once for each of them.
        outputs: Whether it is told of the gradients of what they give out.
        logits: ``[B, T, V]``, as the head fetched them.
        anchor: What every stretch depends on, so that the backward pass reaches the first, whose inputs have no gradient.
    """

    simulator: Simulator
    layers: frozenset[str]
    tell: Tell
    outputs: bool = False
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

    def get(self, array: Tensor) -> NDArray[Any]:
        """As an array; logits, the one fetched output that has a gradient, as the numbers of their steps ``[B, T, 1]``."""
        if array.requires_grad:
            self.logits = array
            return np.arange(array.shape[0] * array.shape[1]).reshape(*array.shape[:2], 1)
        result: NDArray[Any] = array.detach().cpu().numpy()
        return result


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
        if node.name not in self.tapped.layers or not node.activations:
            return inputs, weights
        rows = _rows(inputs[0], node)
        own = rows.view_as(rows) if rows.requires_grad else rows.detach().requires_grad_()
        self.rows.append((node, inputs[0].detach(), own))
        return (own, *inputs[1:]), weights

    def _seen(self, node: Node, outputs: tuple[Tensor, ...]) -> None:
        if node.name in self.tapped.layers and node.activations:
            self.given[node.name] = outputs[0]


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
        left = iter(found[len(rows) + len(given) :])
        rows.clear()
        given.clear()
        return None, None, *(next(left) if need else None for need in needed)


def estimate(trials: Trials, options: Options, *, weights: bool = False) -> Errors:
    """Mean nats a step that each layer's rounding costs under each of its schemes, on the speech of ``trials``.

    Args:
        trials: Name speech, journal and account; a batch that an earlier run finished is not computed again.
        options: The schemes of each layer; those of one layer share its weight's,
        weights: unless the rounding of weights counts too.
    """
    totals: Errors = {layer: dict.fromkeys(schemes, 0.0) for layer, schemes in options.items()}
    schemes = {layer: {n: s.identity() for n, s in named.items()} for layer, named in options.items()}
    identity = digest([schemes, weights] if weights else schemes)
    title, batches, steps = "what each layer's rounding costs", trials.speech.batches, 0
    for number, batch in enumerate(batches):
        trials.progress(title, number, len(batches))
        for reading in trials.once(
            f"fisher {identity}", title, number, partial(_batch, trials, batch, options, weights)
        ):
            steps += reading["steps"]
            for layer, nats in reading["nats"].items():
                for name, value in nats.items():
                    totals[layer][name] += value
    trials.progress(title, len(batches), len(batches))
    return {layer: {name: value / max(1, steps) for name, value in nats.items()} for layer, nats in totals.items()}


def _batch(
    trials: Trials, batch: Sequence[int], options: Options, weights: bool
) -> tuple[float, int, list[dict[str, Any]]]:
    """Seconds, multiplications, and for each utterance of a batch its steps and nats by layer and scheme."""
    began, simulator = time.perf_counter(), trials.simulator
    before = simulator.multiplications
    frontend, plain = simulator.model.frontend, simulator.backend({})
    features = frontend.features(trials.speech.waveforms_of(batch))
    answers = frontend.head.read(plain, frontend.encode(plain, features), features.sizes)
    forward = simulator.multiplications
    found: list[dict[str, Any]] = [{"nats": {}} for _ in answers]

    def tell(node: Node, x: Tensor, own: Tensor, gradient: Tensor, given: Tensor | None) -> None:
        parts = [_nats(node, x, own, gradient, options[node.name])]
        if given is not None and node.kind == "linear":
            parts.append(_weight_nats(simulator, node, x, given, options[node.name]))
        for name, nats in chain(*parts):
            for reading, value in zip(found, nats, strict=True):
                told = reading["nats"].setdefault(node.name, {})
                told[name] = told.get(name, 0.0) + value

    tapped = Tapped(simulator, frozenset(options), tell, weights)
    steps = frontend.head.logits(tapped, frontend.encode(tapped, features), answers)
    for reading, numbers in zip(found, steps, strict=True):
        reading["steps"] = len(numbers)
    forward = simulator.multiplications - forward
    _go_back(tapped, np.concatenate(steps)[:, 0].astype(np.int64))
    return time.perf_counter() - began, simulator.multiplications - before + BACKWARD * forward, found


def _go_back(tapped: Tapped, steps: NDArray[np.int64]) -> None:
    """The backward pass from a random ``u`` at each of the given steps."""
    logits = tapped.logits.flatten(0, 1)[torch.from_numpy(steps).to(tapped.logits.device)]
    p = torch.softmax(logits.detach(), -1)
    random = torch.Generator().manual_seed(SEED)
    signs = torch.randint(2, p.shape, generator=random).to(p) * 2 - 1
    root = p.sqrt() * signs
    u = root - p * root.sum(-1, keepdim=True)
    torch.autograd.grad((logits * u).sum(), tapped.anchor, allow_unused=True)


def _nats(
    node: Node, x: Tensor, own: Tensor, gradient: Tensor, schemes: Mapping[str, LayerScheme]
) -> Iterator[tuple[str, list[float]]]:
    """Name of each of a layer's schemes, and each utterance's nats."""
    axes = (-2, -1) if own.dim() > x.dim() else (-1,)
    for name, scheme in schemes.items():
        error = _rows(fake_quantize(x, scheme.activations[0], node), node) - own
        yield name, _half_squares((gradient * error).sum(axes))


def _weight_nats(
    simulator: Simulator, node: Node, x: Tensor, gradient: Tensor, schemes: Mapping[str, LayerScheme]
) -> Iterator[tuple[str, list[float]]]:
    """The same of a linear layer's weight: what its rounding adds to the rows that the layer gives out."""
    weight = simulator.model.layer_weights()[node.name]
    for name, scheme in schemes.items():
        assert scheme.weight is not None
        change = simulator.weights.codes(node.name, scheme.weight).dequantized() - weight
        error = torch.nn.functional.linear(x, change.to(x.device))
        yield name, _half_squares((gradient * error).sum(-1))


def _half_squares(dots: Tensor) -> list[float]:
    """Half the sum of the squares of each utterance's rows."""
    found: list[float] = (0.5 * dots.flatten(1).double().square().sum(1)).tolist()
    return found


def _rows(x: Tensor, node: Node) -> Tensor:
    """What an operation multiplies by its weight, a row each: a convolution's windows ``[B, T', kernel, C]``, else ``x``."""
    return windows(x, node) if node.kind == "conv1d" and in_rows(node) and x.dim() == 3 else x
