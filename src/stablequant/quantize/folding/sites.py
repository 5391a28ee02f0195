"""Where a linear change of a value's channels can be folded exactly: into what writes the value, and back out of what reads it.

A change goes along with a value through every operation that treats all channels alike (a sum, a mask, heads split and merged, a
cache, attention's average of values, an output that another graph reads), up to operations with weights. Where it meets anything
else there is no fold, and the reason is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from stablequant.network.graph import Node
from stablequant.quantize.folding.rewriting import Rewriting

#: A positive factor a channel, or an orthogonal matrix over channels.
Change = Literal["scale", "rotation"]
#: Operations that look at the shape of what they read, not at its values.
SHAPE_ALONE = ("rotary_tables", "positions", "relative_bias", "relative_sinusoids")
#: Activation functions f with f(c x) = c f(x) for c > 0.
HOMOGENEOUS = ("relu", "leaky_relu", "prelu", "linear")
#: What keeps channels apart, and which of its inputs have those of its output.
ALONG = {
    "identity": (0,),
    "mask": (0,),
    "add": (0, 1),
    "append_steps": (0, 1),
    "split_heads": (0,),
    "merge_heads": (0,),
}
#: Operations whose weights can take a change of their output, by role: the axis of channels.
WRITES = {
    "linear": {"weight": 0, "bias": 0},
    "conv1d": {"weight": 0, "bias": 0},
    "embedding": {"weight": 1},
    "positions": {"table": 1},
    "layer_norm": {"weight": 0, "bias": 0},
    "group_norm": {"weight": 0, "bias": 0},
}
NORMS = ("layer_norm", "group_norm")


SHARED = "its weight is another operation's too"


class Unfoldable(Exception):
    """A change cannot be folded; says what is in its way."""


@dataclass(frozen=True)
class Writer:
    """An operation that writes the value, or one of several equal ``parts`` of its output channels, from ``start`` on."""

    graph: str
    name: str
    start: int = 0
    parts: int = 1


@dataclass
class Site:
    """All that a change of some channels touches.

    Attributes:
        writers: Whose output is changed.
        readers: Graph and name of those that change it back: linear layers and convolutions.
        norms: Graph and name of layer norms that a rotation passes through.
        heads: Parts that channels are dealt to, which a rotation must not mix.
        values: Graph and name of every value that is another afterwards.
    """

    writers: dict[Writer, None] = field(default_factory=dict)
    readers: dict[tuple[str, str], None] = field(default_factory=dict)
    norms: dict[tuple[str, str], None] = field(default_factory=dict)
    heads: int = 1
    values: set[tuple[str, str]] = field(default_factory=set)


def reads_channels(node: Node) -> bool:
    """Whether an operation multiplies all channels of its input by a weight ``[out, in, ..]``."""
    return node.kind == "linear" or (node.kind == "conv1d" and node.attrs["groups"] == 1)


def shares_weight(work: Rewriting, node: Node) -> bool:
    """Whether another operation reads a weight of this one."""
    return any(work.is_shared(key) for key in node.weights.values())


def find(
    work: Rewriting, graph: str, value: str, change: Change, *, begins: tuple[str, str] | None = None, keep: bool = True
) -> Site:
    """The site of a change of ``value``.

    Args:
        work: The model.
        graph: Of the value.
        value: Its name.
        change: Of which kind.
        begins: Graph and name of a value that enters changed, whatever writes it: an operation before it does the change.
        keep: Whether weights that several operations share must stay shared.

    Raises:
        Unfoldable: Something that the change would reach does not go along with it.
    """
    site, waiting = Site(), [(graph, value)]
    while waiting:
        place = waiting.pop()
        if place in site.values:
            continue
        site.values.add(place)
        if place != begins:
            waiting += _upstream(work, *place, change, site)
        waiting += _downstream(work, *place, change, site)
    if keep:
        touched = [*((w.graph, w.name) for w in site.writers), *site.readers]
        if any(shares_weight(work, work.node(*place)) for place in touched):
            raise Unfoldable(SHARED)
    _require_width(work, site)
    return site


def along(work: Rewriting, graph: str, node: Node, change: Change) -> tuple[int, ...]:
    """Which inputs of an operation have the channels of its output, and are changed with it."""
    if node.kind == "matmul":  # an average of rows by weights that do not change
        return () if node.attrs["transpose"] else (1,)
    if change == "scale" and node.kind == "activation" and node.attrs["function"] in HOMOGENEOUS:
        return (0,)
    if change == "scale" and node.kind == "mul":
        sources = [work.source(graph, name) for name in node.inputs]
        plain = [i for i, source in enumerate(sources) if source is not None and source.kind == "chunk"]
        return (plain[0],) if len(plain) == 1 else ()
    return ALONG.get(node.kind, ())


def _require_width(work: Rewriting, site: Site) -> None:
    """Raise Unfoldable unless all have as many channels: a norm of each head has fewer, and serves every head alike."""
    widths = set()
    for reader in site.readers:
        weight = work.weight(*reader, "weight")
        assert weight is not None
        widths.add(weight.shape[1])
    for writer in (*site.writers, *(Writer(*norm) for norm in site.norms)):
        role, axis = next(iter(WRITES[work.node(writer.graph, writer.name).kind].items()))
        weight = work.weight(writer.graph, writer.name, role)
        assert weight is not None
        widths.add(weight.shape[axis] // writer.parts)
    if len(widths) > 1:
        what = "its channels are not those that are written"
        raise Unfoldable(what)


def _upstream(work: Rewriting, graph: str, value: str, change: Change, site: Site) -> Iterator[tuple[str, str]]:
    node = work.source(graph, value)
    if node is None:
        yield from _givers(work, graph, value)
    elif node.kind in NORMS and change == "rotation":
        if node.kind != "layer_norm":
            what = f"behind {node.kind}"
            raise Unfoldable(what)
        yield from _norm(work, graph, node, site)
    elif node.kind in WRITES and not (change == "rotation" and node.attrs.get("groups", 1) != 1):
        site.writers[Writer(graph, node.name)] = None
    elif node.kind == "chunk" and change == "scale":
        site.writers[_part(work, graph, value, node)] = None
    elif inputs := along(work, graph, node, change):
        _heads(node, site)
        yield from ((graph, node.inputs[i]) for i in inputs)
    else:
        what = f"behind {node.attrs.get('function', node.kind)}"
        raise Unfoldable(what)


def _downstream(work: Rewriting, graph: str, value: str, change: Change, site: Site) -> Iterator[tuple[str, str]]:
    for node in work.readers(graph, value):
        if node.kind in SHAPE_ALONE:
            continue
        inputs = along(work, graph, node, change)
        if reads_channels(node) and node.inputs[0] == value:
            _require_whole(work, graph, node)
            site.readers[graph, node.name] = None
        elif node.kind == "layer_norm" and change == "rotation":
            yield from _norm(work, graph, node, site)
        elif any(node.inputs[i] == value for i in inputs) and node.inputs.count(value) == 1:
            _heads(node, site)
            yield graph, node.outputs[0]
        else:
            what = f"also read by {node.kind}"
            raise Unfoldable(what)
    if value in work.graphs[graph].outputs:
        yield from _takers(work, graph, value)


def _norm(work: Rewriting, graph: str, node: Node, site: Site) -> Iterator[tuple[str, str]]:
    """Pass a layer norm: its factors go to its readers, so these are to be linear layers."""
    for reader in work.readers(graph, node.outputs[0]):
        if reader.kind != "linear" and reader.kind not in SHAPE_ALONE:
            what = f"a norm is also read by {reader.kind}"
            raise Unfoldable(what)
    if node.outputs[0] in work.graphs[graph].outputs:
        what = "a norm is given out"
        raise Unfoldable(what)
    site.norms[graph, node.name] = None
    yield graph, node.inputs[0]
    yield graph, node.outputs[0]


def _part(work: Rewriting, graph: str, value: str, node: Node) -> Writer:
    """The part of a layer's output channels that one of the ``node``'s pieces is."""
    source = work.source(graph, node.inputs[0])
    alone = len(list(work.readers(graph, node.inputs[0]))) == 1
    if source is None or not reads_channels(source) or not alone:
        what = f"behind {node.kind}"
        raise Unfoldable(what)
    weight = work.weight(graph, source.name, "weight")
    assert weight is not None
    parts = len(node.outputs)
    return Writer(graph, source.name, node.outputs.index(value) * (len(weight) // parts), parts)


def _require_whole(work: Rewriting, graph: str, node: Node) -> None:
    """Raise Unfoldable if a layer multiplies the channels of each head by the same weight."""
    source = work.source(graph, node.inputs[0])
    if source is not None and source.kind == "split_heads":
        what = "it reads all heads with one weight"
        raise Unfoldable(what)


def _heads(node: Node, site: Site) -> None:
    if node.kind == "split_heads":
        site.heads = max(site.heads, int(node.attrs["heads"]))


def _givers(work: Rewriting, graph: str, name: str) -> Iterator[tuple[str, str]]:
    """The outputs that an input comes from: another graph's, or the step's before."""
    found = [
        (other.name, output.name)
        for other in work.graphs.values()
        for output in other.outputs.values()
        if (other.name == graph and output.carries == name) or (other.name != graph and output.name == name)
    ]
    if not found:
        what = "comes from outside"
        raise Unfoldable(what)
    yield from found


def _takers(work: Rewriting, graph: str, name: str) -> Iterator[tuple[str, str]]:
    """The inputs that an output goes to."""
    carried = work.graphs[graph].outputs[name].carries
    found = [
        (other.name, value.name)
        for other in work.graphs.values()
        for value in other.inputs
        if (other.name == graph and value.name == carried) or (other.name != graph and value.name == name)
    ]
    if not found:
        what = "given out"
        raise Unfoldable(what)
    yield from found
