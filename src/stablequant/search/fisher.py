"""What each layer's rounding costs in divergence, estimated for every scheme at once from a gradient: no trial a layer.

Rounding adds an error d to the rows that a layer reads. To second order the divergence of the model's outputs that it causes is
half of d' J' F J d (Kullback 1959, chapter 2), with J the Jacobian of the logits in those rows and F = diag(p) - p p' the Fisher
information of the softmax p in its logits. For random signs e the mean of u u', u = sqrt(p) e - p (sqrt(p) . e), is F, so one
backward pass from u gives, in g = J' u, an unbiased estimate for all layers (Hutchinson 1990). Rounding errors of different rows
are taken as independent:

    nats of an utterance ~ 1/2 sum over rows of (g . d)^2

Weights are left out: the schemes of a choice share them, or have finer ones where they have a scale a block. bench/objective.py
compares the estimate with trials.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablequant.files import digest
from stablequant.network.graph import Node
from stablequant.quantize.scheme import LayerScheme, in_rows
from stablequant.quantize.simulate import Simulator, fake_quantize, windows
from stablequant.search.trials import Trials

#: A backward pass multiplies about twice as often as a forward one.
BACKWARD = 2
#: Seed of the signs.
SEED = 0

#: Layer -> scheme's name -> the scheme.
Options = Mapping[str, Mapping[str, LayerScheme]]
#: Layer -> scheme's name -> nats a step that the layer's rounding costs under it.
Errors = dict[str, dict[str, float]]


@dataclass
class Tapped:
    """The float model as a backend that keeps the rows which layers read, with their gradients to come.

    ``get`` hands out, in place of logits, the number of the step that each was computed for: a head picks the valid ones of
    these as it does of logits.

    Attributes:
        simulator: Of the model.
        layers: Names of those to keep.
        rows: By layer, its input, and the rows of it that the graph goes on with.
        logits: ``[B, T, V]``, as the head fetched them.
    """

    simulator: Simulator
    layers: frozenset[str]
    rows: dict[str, tuple[Node, Tensor, Tensor]] = field(default_factory=dict)
    logits: Tensor = field(default_factory=lambda: torch.empty(0))

    def run(self, graph: str, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of ``graph`` by name."""
        executor = self.simulator.executors[graph]
        values = executor.run(feeds, self._keep, gradients=True)
        return {name: values[name] for name in executor.graph.outputs}

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

    def _keep(
        self, node: Node, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor], lengths: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
        """Keep a layer's input, and let the layer read it through a tensor of its own (an ``Operands``)."""
        if node.name not in self.layers or not node.activations:
            return inputs, weights
        x = inputs[0]
        rows = _rows(x, node)
        own = rows.view_as(rows) if rows.requires_grad else rows.detach().requires_grad_()
        self.rows[node.name] = node, x.detach(), own
        return (own, *inputs[1:]), weights


def estimate(trials: Trials, options: Options) -> Errors:
    """Mean nats a step that each layer's rounding costs under each of its schemes, on the speech of ``trials``.

    Args:
        trials: Name speech, journal and account; a batch that an earlier run finished is not computed again.
        options: The schemes of each layer; those of one layer share its weight's.
    """
    totals: Errors = {layer: dict.fromkeys(schemes, 0.0) for layer, schemes in options.items()}
    identity = digest({layer: {n: s.identity() for n, s in schemes.items()} for layer, schemes in options.items()})
    title, batches, steps = "what each layer's rounding costs", trials.speech.batches, 0
    for number, batch in enumerate(batches):
        trials.progress(title, number, len(batches))
        for reading in trials.once(f"fisher {identity}", title, number, partial(_batch, trials, batch, options)):
            steps += reading["steps"]
            for layer, nats in reading["nats"].items():
                for name, value in nats.items():
                    totals[layer][name] += value
    trials.progress(title, len(batches), len(batches))
    return {layer: {name: value / max(1, steps) for name, value in nats.items()} for layer, nats in totals.items()}


def _batch(trials: Trials, batch: Sequence[int], options: Options) -> tuple[float, int, list[dict[str, Any]]]:
    """Seconds, multiplications, and for each utterance of a batch its steps and nats by layer and scheme."""
    began, simulator = time.perf_counter(), trials.simulator
    before = simulator.multiplications
    frontend, plain = simulator.model.frontend, simulator.backend({})
    features = frontend.features(trials.speech.waveforms_of(batch))
    answers = frontend.head.read(plain, frontend.encode(plain, features), features.sizes)
    forward = simulator.multiplications
    tapped = Tapped(simulator, frozenset(options))
    steps = frontend.head.logits(tapped, frontend.encode(tapped, features), answers)
    found: list[dict[str, Any]] = [{"steps": len(s), "nats": {layer: {} for layer in options}} for s in steps]

    def keep(layer: str, gradient: Tensor) -> None:
        node, x, own = tapped.rows.pop(layer)
        for name, nats in _nats(node, x, own.detach(), gradient, options[layer]):
            for reading, value in zip(found, nats, strict=True):
                reading["nats"][layer][name] = value

    _go_back(tapped, np.concatenate(steps)[:, 0].astype(np.int64), keep)
    spent = simulator.multiplications - before + BACKWARD * (simulator.multiplications - forward)
    return time.perf_counter() - began, spent, found


def _go_back(tapped: Tapped, steps: NDArray[np.int64], keep: Callable[[str, Tensor], None]) -> None:
    """Run backward from a random ``u`` at each of the given steps; ``keep`` is given the gradient in every layer's rows.

    It is given each as soon as it is known, and none is held: all together they take as much as the values of the forward pass.
    """
    logits = tapped.logits.flatten(0, 1)[torch.from_numpy(steps).to(tapped.logits.device)]
    p = torch.softmax(logits.detach(), -1)
    random = torch.Generator().manual_seed(SEED)
    signs = torch.randint(2, p.shape, generator=random).to(p) * 2 - 1
    root = p.sqrt() * signs
    u = root - p * root.sum(-1, keepdim=True)
    for layer, (_, _, own) in tapped.rows.items():
        own.register_hook(partial(keep, layer))  # type: ignore[no-untyped-call]
    (logits * u).sum().backward()  # type: ignore[no-untyped-call]


def _nats(
    node: Node, x: Tensor, own: Tensor, gradient: Tensor, schemes: Mapping[str, LayerScheme]
) -> Iterator[tuple[str, list[float]]]:
    """Scheme's name, and each utterance's nats, of one layer."""
    axes = (-2, -1) if own.dim() > x.dim() else (-1,)
    for name, scheme in schemes.items():
        error = _rows(fake_quantize(x, scheme.activations[0], node), node) - own
        dots = (gradient * error).sum(axes).flatten(1)
        yield name, (0.5 * dots.double().square().sum(1)).tolist()


def _rows(x: Tensor, node: Node) -> Tensor:
    """What an operation multiplies by its weight, a row each: a convolution's windows ``[B, T', kernel, C]``, else ``x``."""
    return windows(x, node) if node.kind == "conv1d" and in_rows(node) and x.dim() == 3 else x
