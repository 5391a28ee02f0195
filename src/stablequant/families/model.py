"""What a loaded checkpoint is to the rest of the house."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from stablequant.families.frontend import Frontend
from stablequant.families.held_weights import HeldWeights
from stablequant.families.scaled_weights import ScaledWeights
from stablequant.network.graph import Graph, Node
from stablequant.settings import Window

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Op:
    """One quantisable operation of a model: what the plan calls a layer."""

    graph: str
    node: Node

    @property
    def name(self) -> str:
        """Its path in the model's own module tree."""
        return self.node.name


@dataclass(frozen=True)
class SpeechModel:
    """A speech recogniser as graphs of named operations, with what turns audio into inputs and outputs into text.

    Attributes:
        family: ``model_type`` of its configuration: "moonshine", "wav2vec2", "hubert", "wavlm", "whisper".
        path: Folder of the checkpoint.
        frontend: Its processor and configuration.
        graphs: In the order data flows.
        fingerprint: SHA-256 over its weight files and config.json.
        processor_fingerprint: SHA-256 over its processor, tokenizer and generation files, and over what it was asked for.
        float_bytes: What its parameters take in float32.
        language: Whose adapters it has, of a model with one set a language; ``None``: the checkpoint's own.
        notes: What was found beside the checkpoint and left out, in sentences for the user.
    """

    family: str
    path: Path
    frontend: Frontend
    graphs: tuple[Graph, ...]
    fingerprint: str
    processor_fingerprint: str
    float_bytes: int
    notes: tuple[str, ...] = ()
    language: str | None = None

    def asked(self, language: str | None = None, *, translate: bool = False, window: Window = "full") -> Self:
        """The same for speech in ``language`` and the rest; see `Frontend.asked`. Files for the audio alone take any length."""
        frontend = self.frontend.asked(language, translate=translate, window=window)
        if (frontend.head, window) == (self.frontend.head, self.frontend.window):
            return self
        constants = f"{self.processor_fingerprint}:{sorted(frontend.head.constants().items())}"
        constants += "" if window == "full" else f":{window}"
        known = hashlib.sha256(constants.encode()).hexdigest()
        graphs = tuple(graph.sized(any_length=window == "audio") for graph in self.graphs)
        return replace(self, frontend=frontend, processor_fingerprint=known, graphs=graphs)

    def graph(self, name: str) -> Graph:
        """The graph called ``name``."""
        return next(g for g in self.graphs if g.name == name)

    def ops(self, *, matmuls: bool = False) -> tuple[Op, ...]:
        """Every operation that can be quantised, in the order of execution."""
        return tuple(Op(g.name, node) for g in self.graphs for node in g.quantisable(matmuls=matmuls))

    def weight(self, op: Op) -> Tensor | None:
        """The float32 weight of ``op``, output channels first; ``None`` for a product of two activations."""
        key = op.node.weights.get("weight")
        return None if key is None else self.graph(op.graph).weights[key]

    def layer_weights(self) -> Mapping[str, Tensor]:
        """The float32 weight of every layer that can be quantised, by the layer's name; looked up when it is asked for."""
        return _LayerWeights({op.name: (self.graph(op.graph), op.node.weights["weight"]) for op in self.ops()})

    def let_go(self) -> None:
        """Let go of the weights, if they come from a checkpoint: they are read again when the next one is asked for."""
        for graph in self.graphs:
            if isinstance(graph.weights, HeldWeights | ScaledWeights):
                graph.weights.let_go()


class _LayerWeights(Mapping[str, "Tensor"]):
    """Weights by layer, as their graphs hold them."""

    def __init__(self, keys: Mapping[str, tuple[Graph, str]]) -> None:
        self._keys = keys

    def __getitem__(self, layer: str) -> Tensor:
        graph, key = self._keys[layer]
        return graph.weights[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
