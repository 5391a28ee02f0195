"""A witness for a family's graphs: the products in transformers' own model, as ``torch.export`` records them.

Both sides are written down in the same words, one line an operation: a linear or a convolution by the parameters it
computes with, a product of two activations by the parameters of the operations that each of the two comes from. So
the lines do not depend on how the model spells a product: ``nn.Linear``, ``x @ w``, or inside a fused attention.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.utils.flop_counter import flop_registry

from stablequant.network.graph import QUANTISABLE, Graph

aten = torch.ops.aten

#: Products that are left whole: a linear keeps its bias, and those of vectors would end as a sum of single products.
WHOLE = (aten.linear, aten.mv, aten.dot)
#: These, what PyTorch's own counter of multiplications counts, and two that it does not. Every other operation is
#: broken down into these or works element by element.
PRODUCTS = {*WHOLE, *flop_registry, aten.addmv, aten._trilinear}
#: Nodes of our graphs that read the shape of their inputs and not what is in them.
SHAPE_ONLY = ("positions", "relative_bias", "relative_sinusoids", "rotary_tables")
#: How PyTorch names the magnitude and the direction of a weight-normed parameter.
WEIGHT_NORM = re.compile(r"\.parametrizations\.(\w+)\.original[01]$")


@dataclass(frozen=True)
class Origin:
    """Where a value of the exported graph comes from.

    Attributes:
        active: Whether it is computed from the model's inputs; if not, it is a weight or a constant.
        names: The parameters it is made of; of an activation, those of the nearest operations before it.
    """

    active: bool = False
    names: frozenset[str] = frozenset()


def operations_of_model(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Counter[str]:
    """Each product that ``model`` computes, as a line; constants multiplied with constants are left out."""
    table = torch.export.default_decompositions()
    for product in WHOLE:
        del table[product.default]
    with torch.no_grad():
        program = torch.export.export(model, args, kwargs, strict=False).run_decompositions(table)
    names = plain_names(model)
    parameters = {key: names[name] for key, name in program.graph_signature.inputs_to_parameters.items()}
    inputs = set(program.graph_signature.user_inputs)

    operations: Counter[str] = Counter()
    origins: dict[fx.Node, Origin] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            name = parameters.get(node.name)
            origins[node] = Origin(node.name in inputs, frozenset({name} if name else ()))
            continue
        sources = [origins[source] for source in _sources(node)]
        activations = [source.names for source in sources if source.active]
        weights = frozenset().union(*(source.names for source in sources if not source.active))
        product = getattr(node.target, "overloadpacket", None) in PRODUCTS
        # A weight times a constant, such as sines of positions, whose length is the input's.
        positions = product and not activations and {bool(source.names) for source in sources} == {True, False}
        if product and (len(activations) == 1 or positions):
            operations[_line(_kind(node), weights)] += 1
            origins[node] = Origin(True, weights)
            continue
        if product and activations:
            operations[_line("matmul", *activations)] += 1
        origins[node] = Origin(bool(activations), frozenset().union(*activations) if activations else weights)
    return operations


def operations_of_graphs(model: nn.Module, graphs: Iterable[Graph]) -> Counter[str]:
    """Each quantisable operation of our ``graphs`` of ``model``, as a line; what one puts out a later one may read."""
    names = plain_names(model)
    # A bias that a batch norm was folded into is no parameter of the model.
    known = {*names, *names.values()}
    operations: Counter[str] = Counter()
    origins: dict[str, frozenset[str]] = {}
    for graph in graphs:
        for node in graph.nodes:
            weights = frozenset(names.get(key, key) for key in node.weights.values() if key in known)
            read = [origins.get(name, frozenset()) for name in node.inputs]
            origin = frozenset() if node.kind in SHAPE_ONLY else frozenset().union(*read)
            if node.kind == "matmul":
                operations[_line("matmul", *read)] += 1
            elif node.kind in QUANTISABLE:
                operations[_line(node.kind, weights)] += 1
                origin = weights
            origins.update(dict.fromkeys(node.outputs, origin))
    return operations


def differences(model: Counter[str], graphs: Counter[str]) -> list[str]:
    """What only one side has."""
    missing = [f"not an operation of ours: {line}" for line in (model - graphs).elements()]
    return missing + [f"not in the model: {line}" for line in (graphs - model).elements()]


def plain_names(model: nn.Module) -> dict[str, str]:
    """One name for each parameter: the first of a tied weight's, and that of the whole for the parts of a weight norm."""
    first: dict[int, str] = {}
    named = model.named_parameters(remove_duplicate=False)
    return {name: first.setdefault(id(weight), WEIGHT_NORM.sub(r".\1", name)) for name, weight in named}


def _sources(node: fx.Node) -> list[fx.Node]:
    """The nodes that ``node`` reads; of tensors put together and taken apart again, only the one that it is."""
    read: list[fx.Node] = []
    fx.node.map_arg((node.args, node.kwargs), read.append)
    if node.target is operator.getitem and (joined := _sources(read[0])[:1]) and joined[0].target is aten.cat.default:
        parts, pieces = joined[0].args[0], read[0].meta["val"]
        if [part.meta["val"].shape for part in parts] == [piece.shape for piece in pieces]:
            return [parts[node.args[1]]]
    return read


def _kind(node: fx.Node) -> str:
    """Of a product with a weight: a convolution, unless it is one of single steps, which is a linear layer."""
    if node.target is not aten.convolution.default:
        return "linear"
    kernel = node.args[1].meta["val"].shape[2:]
    return "linear" if set(kernel) == {1} else f"conv{len(kernel)}d"


def _line(kind: str, *operands: Iterable[str]) -> str:
    return f"{kind} of " + " and of ".join(", ".join(sorted(names)) or "an input" for names in operands)
