"""Which values a plan's static grids clip, frame by frame and channel by channel, while graphs run in float or in int8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablequant.families.model import SpeechModel
from stablequant.grid.affine import QuantParams
from stablequant.network.execute import Operands
from stablequant.network.graph import Node


@dataclass(frozen=True)
class Clips:
    """One layer's input in one recording.

    Attributes:
        frames: Values clipped in each time step ``[T]``.
        channels: And in each channel ``[C]``.
    """

    frames: NDArray[np.int64]
    channels: NDArray[np.int64]

    @classmethod
    def of(cls, x: Tensor, grid: QuantParams) -> Clips:
        """Count the values of ``x`` ``[.., T, C]`` whose codes are clamped to the ends of ``grid``."""
        codes = torch.round(x / grid.scale) + grid.zero_point
        clamped = (codes < grid.qmin) | (codes > grid.qmax)
        clamped = clamped.reshape(-1, *x.shape[-2:])
        return cls(clamped.sum((0, 2)).numpy(), clamped.sum((0, 1)).numpy())


class ClipWatcher:
    """Counts clipped values of one recording at a time, and keeps a decoder's attention to the encoder.

    Attributes:
        clips: By layer, of the last recording; of a decoder all its tokens as one pass reads them.
    """

    def __init__(self, model: SpeechModel, grids: Mapping[str, QuantParams], then: Operands | None = None) -> None:
        """Watch ``model``.

        Args:
            model: What is run; attention as its separate products.
            grids: Static grids by layer.
            then: What to compute with afterwards; ``None``: float.
        """
        self._grids, self._then = grids, then
        self._crossing = {
            node.name
            for graph in model.graphs
            for node in graph.nodes
            if graph.runs_in_steps and node.kind == "matmul" and not node.attrs["transpose"]
            if node.inputs[1] in {given.name for given in graph.inputs}
        }
        self.forget()

    def forget(self) -> None:
        """Begin with another recording."""
        self.clips: dict[str, Clips] = {}
        self._attention: list[NDArray[np.float32]] = []

    def attention(self, tokens: int) -> NDArray[np.float32] | None:
        """Of steps that predict an answer's tokens to the encoder's frames ``[tokens, frames]``, mean of layers and heads."""
        if not self._attention:
            return None
        whole: NDArray[np.float32] = np.mean(self._attention, axis=0)
        start = first_step(len(whole), tokens)
        return whole[start : start + tokens]

    def __call__(
        self, node: Node, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor], lengths: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
        """Count (an ``Operands``, see network/execute.py)."""
        if node.activations and (grid := self._grids.get(node.name)) is not None:
            self.clips[node.name] = Clips.of(inputs[0], grid)
        if node.name in self._crossing:
            self._attention.append(inputs[0][0].mean(0).numpy())
        return (inputs, weights) if self._then is None else self._then(node, inputs, weights, lengths)


def first_step(steps: int, tokens: int) -> int:
    """The step of a pass over prompt and answer that predicts the answer's first token; the last one predicts the end."""
    return steps - tokens - 1
