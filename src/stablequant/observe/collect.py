"""One pass over calibration speech: a histogram of every activation that will be quantised.

Padding is left out. The decoder of an encoder-decoder model sees the float model's own transcripts, utterance by
utterance, as it does when it serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablequant.families.model import SpeechModel
from stablequant.grid.histogram import Histogram
from stablequant.network.execute import Executor, TorchBackend
from stablequant.network.graph import Node

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
            for part in _without_padding(x, lengths):
                histogram.update(part)
        return inputs, weights


def _without_padding(x: Tensor, lengths: Tensor | None) -> Iterator[Tensor]:
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
    executors = {g.name: Executor(g) for g in model.graphs}
    backend = TorchBackend(executors)
    observer = Observer(model, matmuls=matmuls)
    first, *rest = executors.values()
    for waveforms in batches:
        features = model.frontend.features(waveforms)
        outputs = first.run({name: backend.put(value) for name, value in features.items()}, observer)
        if rest:
            transcripts = model.frontend.read_out(backend, outputs, features["input_lengths"])
            for row, transcript in enumerate(transcripts):
                _observe_decoder(rest[0], observer, outputs, row, transcript.tokens, model.frontend.greedy.start)
    return observer.histograms


def _observe_decoder(
    decoder: Executor, observer: Observer, encoded: Mapping[str, Tensor], row: int, tokens: Sequence[int], start: int
) -> None:
    frames = int(encoded["encoder_lengths"][row])
    feeds = {"input_ids": torch.tensor([[start, *tokens]])}
    for spec in decoder.graph.inputs:
        if spec.name.startswith("cross_"):
            feeds[spec.name] = encoded[spec.name][row : row + 1, :, :frames]
        elif spec.name.startswith("past_"):
            feeds[spec.name] = torch.zeros(1, int(spec.shape[1]), 0, int(spec.shape[3]))
    feeds["encoder_lengths"] = encoded["encoder_lengths"][row : row + 1]
    decoder.run(feeds, observer)
