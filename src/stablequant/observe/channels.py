"""One float pass over calibration speech: how large each channel of a layer's input is.

As in `observe.collect`, padding is left out and a decoder sees the float model's own transcripts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablequant.families.model import SpeechModel
from stablequant.network.graph import Node
from stablequant.observe.collect import watch, without_padding


@dataclass(frozen=True)
class Channels:
    """Magnitudes of a layer's input, channel by channel.

    Attributes:
        largest: The largest in each channel ``[C]``, float32.
        mean: The mean in each ``[C]``, float32.
    """

    largest: Tensor
    mean: Tensor


class ChannelObserver:
    """Fills in magnitudes while graphs run in float; what is computed stays as it is."""

    def __init__(self, layers: Iterable[str]) -> None:
        """Start with nothing, for ``layers``."""
        self._largest: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}
        self._rows = dict.fromkeys(layers, 0)

    def __call__(
        self, node: Node, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor], lengths: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
        """Count the valid rows that the node reads (an ``Operands``, see network/execute.py)."""
        if node.name in self._rows:
            zero = torch.zeros(inputs[0].shape[-1])
            largest, sums = self._largest.get(node.name, zero), self._sums.get(node.name, zero)
            for part in without_padding(inputs[0], lengths):
                magnitudes = part.reshape(-1, part.shape[-1]).abs()
                if len(magnitudes):
                    largest, sums = torch.maximum(largest, magnitudes.amax(0)), sums + magnitudes.sum(0)
                    self._rows[node.name] += len(magnitudes)
            self._largest[node.name], self._sums[node.name] = largest, sums
        return inputs, weights

    def channels(self) -> dict[str, Channels]:
        """What was found, by layer; a layer that never ran is left out."""
        return {
            name: Channels(self._largest[name], self._sums[name] / max(1, self._rows[name])) for name in self._largest
        }


def observe_channels(
    model: SpeechModel, batches: Iterable[Sequence[NDArray[np.float32]]], layers: Iterable[str]
) -> dict[str, Channels]:
    """Run the float ``model`` over ``batches`` of waveforms and return the magnitudes of what ``layers`` read."""
    observer = ChannelObserver(layers)
    watch(model, batches, observer)
    return observer.channels()
