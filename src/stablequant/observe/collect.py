"""One pass over calibration speech: a histogram of every activation that will be quantised.

Padding is left out. The decoder of an encoder-decoder model sees the float model's own transcripts, utterance by
utterance, as it does when it serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stablequant.families.model import SpeechModel
from stablequant.grid.histogram import Histogram
from stablequant.network.execute import Executor, Operands, TorchBackend
from stablequant.network.graph import Graph, Node

#: Layer -> a histogram for each of its activations.
Histograms = dict[str, tuple[Histogram, ...]]


class Observer:
    """Fills histograms while graphs run in float; what is computed stays as it is."""

    def __init__(self, model: SpeechModel, *, matmuls: bool = False) -> None:
        """Start with an empty histogram for each activation of every quantisable operation."""
        self.histograms: Histograms = {
            op.name: tuple(Histogram(op.name) for _ in op.node.activations) for op in model.ops(matmuls=matmuls)
        }

    def __call__(
        self, node: Node, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor], lengths: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
        """Count the valid values of the node's activations (an ``Operands``, see network/execute.py)."""
        for histogram, x in zip(self.histograms.get(node.name, ()), inputs, strict=False):
            for part in without_padding(x, lengths):
                histogram.update(part)
        return inputs, weights


def without_padding(x: Tensor, lengths: Tensor | None) -> Iterator[Tensor]:
    """The valid time steps of ``[B, T, C]`` or ``[B, H, T, d]``, as views: one utterance at a time if any is padded."""
    if lengths is None or bool((lengths >= x.shape[-2]).all()):
        yield x
    else:
        for row, valid in zip(x, lengths.tolist(), strict=True):
            yield row[..., :valid, :]


def observe(
    model: SpeechModel, batches: Iterable[Sequence[NDArray[np.float32]]], *, matmuls: bool = False
) -> Histograms:
    """Run the float ``model`` over ``batches`` of waveforms and return the histograms of its activations."""
    observer = Observer(model, matmuls=matmuls)
    watch(model, batches, observer)
    return observer.histograms


def watch(model: SpeechModel, batches: Iterable[Sequence[NDArray[np.float32]]], observer: Operands) -> None:
    """Run the float ``model`` over ``batches`` of waveforms, and let ``observer`` see what every operation reads."""
    executors = {g.name: Executor(g) for g in model.graphs}
    backend, watched = TorchBackend(executors), TorchBackend(executors, observer)
    frontend = model.frontend
    for waveforms in batches:
        features = frontend.features(waveforms)
        outputs = frontend.encode(watched, features)
        if len(model.graphs) > 1:
            answers = frontend.head.read(backend, outputs, features.sizes)
            for row, answer in enumerate(answers):
                frontend.head.logits(watched, _alone(model.graphs[0], outputs, row), [answer])


def _alone(graph: Graph, outputs: Mapping[str, Tensor], row: int) -> dict[str, Tensor]:
    """One utterance's part of a graph's outputs, without padding: its own frames alone, where they are counted."""
    counts = (int(outputs[name][row]) for name, output in graph.outputs.items() if len(output.shape) == 1)
    alone = {name: outputs[name][row : row + 1] for name in graph.outputs}
    if (frames := next(counts, None)) is None:
        return alone
    for name, output in graph.outputs.items():
        if "frames" in output.shape:
            alone[name] = alone[name].narrow(output.shape.index("frames"), 0, frames)
    return alone
