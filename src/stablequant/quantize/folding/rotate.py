"""Rotations: channels are mixed by orthogonal matrices, and no channel is larger than the others any more.

Ashkboos et al. 2024, QuaRot, arXiv 2404.00456; Liu et al. 2024, SpinQuant, arXiv 2405.16406. Both are for RMS norms, which any
rotation passes. A layer norm subtracts the mean of its channels, so it is passed by those rotations Q alone that leave the mean
what it is: with Q 1 = 1 the mean of x Q is that of x, so is its variance, and LN(x Q) = LN(x) Q once the norm's own factors are
folded into the layers behind it. Such rotations are made here, so nothing has to be centred first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stablequant.data.speech import Speech
from stablequant.families.model import SpeechModel
from stablequant.grid.hadamard import random_rotation
from stablequant.network.graph import Node
from stablequant.quantize.folding.folded import Folded
from stablequant.quantize.folding.rewriting import Rewriting
from stablequant.quantize.folding.sites import SHAPE_ALONE, WRITES, Site, Unfoldable, find, reads_channels

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Rotation:
    """A site, and graph and name of the value that an operation rotates on its way in; ``None`` where weights do all of it."""

    site: Site
    begins: tuple[str, str] | None = None


def rotate(model: SpeechModel, speech: Speech | None = None, *, seed: int = 0) -> Folded:
    """Rotate what layers read, wherever that is exact; see the module for which rotations.

    - **The residual stream** of layers with their norms in front. If what begins it cannot take the rotation (it comes out of an
      activation function), one operation a graph rotates it there. A tied embedding and head get a table each, as only the
      head takes the last norm's factors.
    - **Attention's values**, each head by itself, between the projection of values and that of the output.
    - Any other linear layer that reads what linear layers wrote.

    Args:
        model: What is rewritten.
        speech: Not used: nothing is calibrated.
        seed: Of the signs.
    """
    del speech
    work, spread = Rewriting(model), Rewriting(model)
    if _spread_heads(spread) and any(found.site.norms for found in _rotations(spread, {})):
        work = spread
    layers: list[str] = []
    left: dict[str, str] = {}
    rotations = list(_rotations(work, left))
    for number, found in enumerate(rotations):
        _apply(work, found, seed + number)
        layers += [name for _, name in found.site.readers if name not in layers]
    return Folded.of("rotate", work, layers, left, *_told(model, rotations))


def _rotations(work: Rewriting, left: dict[str, str]) -> Iterator[Rotation]:
    """Every rotation, each once; layers without one go to ``left`` with the reason."""
    done: set[tuple[str, str]] = set()
    for graph in work.graphs.values():
        for node in graph.quantisable():
            if (graph.name, node.name) in done:
                continue
            try:
                if not reads_channels(node):
                    what = "in groups"
                    raise Unfoldable(what)
                found = _rotation(work, graph.name, node)
            except Unfoldable as reason:
                left[node.name] = str(reason)
                continue
            done |= set(found.site.readers)
            yield found


def _rotation(work: Rewriting, graph: str, node: Node) -> Rotation:
    try:
        return Rotation(_whole(find(work, graph, node.inputs[0], "rotation", keep=False)))
    except Unfoldable as reason:
        first = reason
    for norm in (n for n in work.graphs[graph].nodes if n.kind == "layer_norm"):
        begins = graph, norm.inputs[0]
        try:
            site = _whole(find(work, graph, node.inputs[0], "rotation", begins=begins, keep=False))
        except Unfoldable:
            continue
        # For a single layer a rotation would cost as much as the layer.
        if begins in site.values and len(site.norms) > 1:
            return Rotation(site, begins)
    raise first


def _whole(site: Site) -> Site:
    if site.norms and site.heads > 1:
        what = "a norm over heads"
        raise Unfoldable(what)
    return site


def _apply(work: Rewriting, found: Rotation, seed: int) -> None:
    site = found.site
    for graph, name in site.norms:
        _free_of_factors(work, graph, name)
    first = work.weight(*next(iter(site.readers)), "weight")
    assert first is not None
    turn = random_rotation(first.shape[1] // site.heads, seed, keeps_mean=bool(site.norms))
    if found.begins:
        _begin(work, *found.begins, turn)
    for writer in site.writers:
        for role, axis in WRITES[work.node(writer.graph, writer.name).kind].items():
            weight = work.weight(writer.graph, writer.name, role)
            if weight is not None:
                work.put(writer.graph, writer.name, role, _rotated(weight, axis, turn))
    for graph, name in site.readers:
        weight = work.weight(graph, name, "weight")
        assert weight is not None
        work.put(graph, name, "weight", _rotated(weight, 1, turn))


def _rotated(weight: Tensor, axis: int, turn: Tensor) -> Tensor:
    """``weight`` with every run of channels along ``axis``, as many as ``turn`` has, as a row times ``turn``."""
    last = weight.movedim(axis, -1)
    turned: Tensor = last.reshape(*last.shape[:-1], -1, len(turn)) @ turn
    return turned.flatten(-2).movedim(-1, axis)


def _free_of_factors(work: Rewriting, graph: str, name: str) -> None:
    """Move the factors and the shift of a layer norm into the linear layers behind it."""
    import torch

    factors, shift = work.weight(graph, name, "weight"), work.weight(graph, name, "bias")
    assert factors is not None
    value = work.node(graph, name).outputs[0]
    for reader in [n for n in work.readers(graph, value) if n.kind not in SHAPE_ALONE]:
        weight, bias = work.weight(graph, reader.name, "weight"), work.weight(graph, reader.name, "bias")
        assert weight is not None
        if shift is not None and bool(shift.any()):
            moved = weight @ shift
            work.put(graph, reader.name, "bias", moved if bias is None else bias + moved)
        work.put(graph, reader.name, "weight", weight * factors)
    work.put(graph, name, "weight", torch.ones_like(factors))
    if shift is not None:
        work.put(graph, name, "bias", torch.zeros_like(shift))


def _begin(work: Rewriting, graph: str, value: str, turn: Tensor) -> None:
    """Rotate ``value`` where it is written, for all that read it."""
    source = work.source(graph, value)
    assert source is not None
    name = f"{source.name}.rotated"
    reading = [n.name for n in work.readers(graph, value)]
    work.insert(graph, Node("rotate", name, (value,), (f"{name}:0",)), after=source.name)
    work.put(graph, name, "weight", turn.T)
    work.reroute(graph, value, f"{name}:0", reading)


def _spread_heads(work: Rewriting) -> bool:
    """Write linear layers that read each head's channels as layers that read all of them, which a rotation can reach."""
    import torch

    found = False
    for graph in work.graphs.values():
        for node in [n for n in graph.nodes if n.kind == "linear"]:
            split = work.source(graph.name, node.inputs[0])
            weight = work.weight(graph.name, node.name, "weight")
            if split is None or split.kind != "split_heads" or weight is None:
                continue
            heads, whole = int(split.attrs["heads"]), f"{node.name}.whole:0"
            work.exchange(graph.name, replace(node, inputs=split.inputs[:1], outputs=(whole,)))
            again = Node("split_heads", f"{node.name}.heads", (whole,), node.outputs, {"heads": heads})
            work.insert(graph.name, again, after=node.name)
            if not any(work.readers(graph.name, split.outputs[0])):
                graph.nodes.remove(split)
            work.put(graph.name, node.name, "weight", torch.kron(torch.eye(heads).double(), weight))
            if (bias := work.weight(graph.name, node.name, "bias")) is not None:
                work.put(graph.name, node.name, "bias", bias.repeat(heads))
            found = True
    return found


def _told(model: SpeechModel, rotations: list[Rotation]) -> list[str]:
    """What a rotation adds to the model."""
    begun = [found.begins[0] for found in rotations if found.begins]
    notes = [
        f"fold rotate: an operation of its own, in float, begins the rotation of the {name}'s stream" for name in begun
    ]
    names = {writer.name for found in rotations for writer in found.site.writers}
    untied = [n.name for g in model.graphs for n in g.nodes if n.shares and n.name in names]
    return notes + [f"fold rotate: {name} and the head have a table each, the embedding's in float" for name in untied]
