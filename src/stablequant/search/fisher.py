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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from stablequant.files import digest
from stablequant.network.graph import Node
from stablequant.quantize.scheme import LayerScheme
from stablequant.quantize.simulate import Simulator, fake_quantize, rows_of
from stablequant.search.tapped import Tapped
from stablequant.search.trials import Trials

#: A backward pass multiplies about twice as often as a forward one.
BACKWARD = 2
#: Seed of the signs.
SEED = 0

#: Layer -> scheme's name -> the scheme.
Options = Mapping[str, Mapping[str, LayerScheme]]
#: Layer -> scheme's name -> nats a step that the layer's rounding costs under it.
Errors = dict[str, dict[str, float]]


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

    def add(layer: str, parts: Iterable[tuple[str, list[float]]]) -> None:
        for name, nats in parts:
            for reading, value in zip(found, nats, strict=True):
                told = reading["nats"].setdefault(layer, {})
                told[name] = told.get(name, 0.0) + value

    def tell(node: Node, x: Tensor, own: Tensor, gradient: Tensor, given: Tensor | None) -> None:
        add(node.name, _nats(node, x, own, gradient, options[node.name]))
        if given is not None and node.kind == "linear":
            product = partial(torch.nn.functional.linear, x)
            add(node.name, _weight_nats(simulator, node.name, product, given, options[node.name]))

    def tell_table(node: Node, ids: Tensor, gradient: Tensor) -> None:
        lookup = partial(torch.nn.functional.embedding, ids)
        add(node.shares, _weight_nats(simulator, node.shares, lookup, gradient, options[node.shares]))

    tapped = Tapped(simulator, frozenset(options), tell, weights, tell_table)
    steps = frontend.head.logits(tapped, frontend.encode(tapped, features), answers)
    for reading, numbers in zip(found, steps, strict=True):
        reading["steps"] = len(numbers)
    forward = simulator.multiplications - forward
    _go_back(tapped, torch.cat(tapped.at(steps)))
    return time.perf_counter() - began, simulator.multiplications - before + BACKWARD * forward, found


def _go_back(tapped: Tapped, logits: Tensor) -> None:
    """The backward pass from a random ``u`` at each of the given steps' ``logits`` ``[steps, V]``."""
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
        error = rows_of(fake_quantize(x, scheme.activations[0], node), node) - own
        yield name, _half_squares((gradient * error).sum(axes))


def _weight_nats(
    simulator: Simulator,
    layer: str,
    used: Callable[[Tensor], Tensor],
    gradient: Tensor,
    schemes: Mapping[str, LayerScheme],
) -> Iterator[tuple[str, list[float]]]:
    """The same of a linear layer's weight: what its rounding adds to the rows that are given out where it is ``used``."""
    weight = simulator.model.layer_weights()[layer]
    for name, scheme in schemes.items():
        assert scheme.weight is not None
        change = simulator.weights.codes(layer, scheme.weight).dequantized() - weight
        yield name, _half_squares((gradient * used(change.to(gradient.device))).sum(-1))


def _half_squares(dots: Tensor) -> list[float]:
    """Half the sum of the squares of each utterance's rows."""
    found: list[float] = (0.5 * dots.flatten(1).double().square().sum(1)).tolist()
    return found
