"""A positive factor a channel: what a layer reads is divided by it, and its weights are multiplied by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from stablequant.data.speech import Speech
from stablequant.errors import DataError
from stablequant.families.model import SpeechModel
from stablequant.families.scaled_weights import Scaling
from stablequant.network.graph import Node
from stablequant.observe.channels import Channels, observe_channels
from stablequant.quantize.folding.folded import Folded
from stablequant.quantize.folding.rewriting import Rewriting
from stablequant.quantize.folding.sites import (
    NORMS,
    SHAPE_ALONE,
    SHARED,
    WRITES,
    Unfoldable,
    Writer,
    find,
    reads_channels,
    shares_weight,
)

if TYPE_CHECKING:
    from torch import Tensor


#: Method -> the kinds of layers whose inputs it scales.
KINDS = {"smooth": ("linear", "conv1d"), "awq": ("linear",)}


@dataclass(frozen=True)
class ScaleSite:
    """Layers that read the same channels, and what writes those.

    Attributes:
        readers: Graph and name of each, the first in the order of execution.
        writers: What takes the inverse of the factors.
    """

    readers: tuple[tuple[str, str], ...]
    writers: tuple[Writer, ...]

    @property
    def observed(self) -> str:
        """The layer whose input tells how large the channels are."""
        return self.readers[0][1]


@dataclass
class ScaleSites:
    """Every site of a model, and the layers that have none, each with the reason."""

    sites: list[ScaleSite] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, work: Rewriting, kinds: Sequence[str]) -> ScaleSites:
        """Those of layers of some ``kinds``.

        A norm that is also read by others, which need its value as it is, is written a second time in ``work`` for those that can
        take another: sites never overlap.
        """
        found, seen = cls(), set()
        for graph in work.graphs.values():
            for node in graph.quantisable():
                if (graph.name, node.name) in seen:
                    continue
                if node.kind not in kinds or not reads_channels(node):
                    found.left[node.name] = f"a {node.kind}" if node.kind not in kinds else "in groups"
                    continue
                try:
                    site = _site(work, graph.name, node, kinds)
                except Unfoldable as reason:
                    found.left[node.name] = str(reason)
                else:
                    found.sites.append(site)
                    seen |= set(site.readers)
        return found


def _site(work: Rewriting, graph: str, node: Node, kinds: Sequence[str]) -> ScaleSite:
    """The site at the input of a layer; Unfoldable tells why there is none."""
    value = node.inputs[0]
    source = work.source(graph, value)
    if source is None or source.kind not in NORMS:
        site = find(work, graph, value, "scale")
        readers = ((graph, node.name), *(r for r in site.readers if r != (graph, node.name)))
        return ScaleSite(readers, tuple(site.writers))
    if shares_weight(work, node):
        raise Unfoldable(SHARED)
    reading = [n for n in work.readers(graph, value) if n.kind not in SHAPE_ALONE]
    able = [n for n in reading if n.kind in kinds and reads_channels(n) and not shares_weight(work, n)]
    readers = tuple((graph, n.name) for n in able)
    writer = Writer(graph, source.name)
    if len(able) < len(reading) or value in work.graphs[graph].outputs:
        writer = _written_again(work, graph, source, [n.name for n in able])
    return ScaleSite(readers, (writer,))


def fold_scales(
    method: str, model: SpeechModel, choose: Callable[[ScaleSite, Callable[[], Sequence[Tensor]]], Tensor]
) -> Folded:
    """``model`` with a factor a channel at every site of a method.

    Args:
        method: One of `KINDS`.
        model: What is rewritten.
        choose: Factors ``[C]`` of a site; its readers' weights ``[out, C, ..]``, float64, are there if it asks for them.
    """
    work = Rewriting(model)
    found = ScaleSites.of(work, KINDS[method])
    layers: list[str] = []
    factors: dict[str, Tensor] = {}
    for site in found.sites:

        def weights(site: ScaleSite = site) -> Sequence[Tensor]:
            return [w for r in site.readers if (w := work.weight(*r, "weight")) is not None]

        factors[site.observed] = choose(site, weights).float()
        apply(work, site, factors[site.observed])
        layers += [name for _, name in site.readers]
    return Folded.of(method, work, layers, found.left, factors=factors)


def observed_layers(method: str, model: SpeechModel) -> list[str]:
    """The layers whose inputs tell the factors of a method, one a site."""
    return [site.observed for site in ScaleSites.of(Rewriting(model), KINDS[method]).sites]


def require_channels(method: str, model: SpeechModel, speech: Speech | None) -> dict[str, Channels]:
    """How large the channels of what those layers read are on ``speech``; DataError if there is none."""
    if speech is None:
        what = f"the method {method} is calibrated, and there is no speech"
        raise DataError(what, expected="calibration speech", fix="give it: sq.fold(model, speech.calibration, ...)")
    return observe_channels(model, map(speech.waveforms_of, speech.batches), observed_layers(method, model))


def apply(work: Rewriting, site: ScaleSite, factors: Tensor) -> None:
    """Divide what the site's writers give by ``factors`` ``[C]``, and multiply its readers' weights by them."""
    for reader in site.readers:
        work.scale(*reader, "weight", Scaling(1, factors))
    for writer in site.writers:
        node = work.node(writer.graph, writer.name)
        for role, axis in WRITES[node.kind].items():
            if role in node.weights:
                work.scale(writer.graph, writer.name, role, Scaling(axis, factors, writer.start, inverse=True))


def _written_again(work: Rewriting, graph: str, norm: Node, readers: Sequence[str]) -> Writer:
    """A second norm beside the first, alike, which ``readers`` read from now on."""
    name = f"{norm.name}.scaled"
    again = replace(norm, name=name, outputs=(f"{name}:0",))
    work.insert(graph, again, after=norm.name)
    work.reroute(graph, norm.outputs[0], again.outputs[0], readers)
    for role in norm.weights:
        if (weight := work.weight(graph, name, role)) is not None:
            work.put(graph, name, role, weight)
    return Writer(graph, name)
