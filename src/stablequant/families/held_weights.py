"""Weights that can be let go of while nothing needs them, and are read again when the next one is asked for.

A runtime holds a copy of what it runs. Where it runs the float model, or an int8 file whose results are known by then, PyTorch's
weights would be a second one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stablequant.memory import give_back
from stablequant.network.graph import Graph

if TYPE_CHECKING:
    from torch import Tensor

    Weights = Mapping[str, Tensor]


#: Bytes of float weights of a model so small that other copies of them may be kept: its decoder's steps would take long if each
#: made them anew. Of a larger one a copy would be felt, and its layers take longer to run than to make.
SMALL = 300_000_000


class _Source:
    """The weights of a model's graphs, which share tensors, and how they are read."""

    def __init__(self, held: list[Weights], read: Callable[[], Sequence[Graph]]) -> None:
        self._held: list[Weights] | None = held
        self._read = read

    def of(self, graph: int) -> Weights:
        if self._held is None:
            self._held = [g.weights for g in self._read()]
        return self._held[graph]

    def let_go(self) -> None:
        self._held = None
        give_back()


class HeldWeights(Mapping[str, "Tensor"]):
    """The weights of one graph by key."""

    def __init__(self, source: _Source, graph: int) -> None:
        """Look into ``source``, of a model whose number ``graph`` this is."""
        self._source, self._graph = source, graph

    def __getitem__(self, key: str) -> Tensor:
        """The tensor, float32."""
        return self._source.of(self._graph)[key]

    def __iter__(self) -> Iterator[str]:
        """Their keys."""
        return iter(self._source.of(self._graph))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._source.of(self._graph))

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the tensors themselves: it may not have the checkpoint."""
        return dict, (dict(self),)

    def let_go(self) -> None:
        """Let go of the weights of all graphs of the model; tensors that somebody else holds stay."""
        self._source.let_go()


def holding(graphs: Sequence[Graph], read: Callable[[], Sequence[Graph]]) -> tuple[Graph, ...]:
    """``graphs`` with weights that can be let go of; ``read`` gives them again, equal."""
    source = _Source([g.weights for g in graphs], read)
    for number, graph in enumerate(graphs):
        graph.weights = HeldWeights(source, number)
    return tuple(graphs)
