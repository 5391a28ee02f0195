"""One float pass over calibration speech: first and second moments of what each layer's weight is multiplied with.

As in `observe.collect`, padding is left out and a decoder sees the float model's own transcripts. Layers that read the same
rows (q, k and v; the keys and values of all cross-attentions) share them. A convolution's rows are its windows. One in groups
has none: it would need a matrix a group, which takes gigabytes for the positional convolution of wav2vec2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from stablequant.families.model import Op, SpeechModel
from stablequant.grid.moments import Moments
from stablequant.network.graph import Node
from stablequant.observe.collect import watch, without_padding

#: Values of a convolution's windows, which overlap, that are written out at a time: 16 MB.
_CHUNK = 1 << 22


def shared_rows(model: SpeechModel) -> dict[str, str]:
    """Layer -> the first layer that reads the same rows, for every layer that has moments."""
    first: dict[tuple[object, ...], str] = {}
    ops = (op for op in model.ops() if op.node.attrs.get("groups", 1) == 1)
    return {op.name: first.setdefault(_rows_read(op), op.name) for op in ops}


def _rows_read(op: Op) -> tuple[object, ...]:
    shape = (op.node.attrs.get(name) for name in ("kernel", "stride", "padding", "trim"))
    return op.graph, op.node.inputs[0], *shape


class GramObserver:
    """Sums up rows and their products while graphs run in float; what is computed stays as it is."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        """Start with nothing; ``widths`` are of a row, by the layer that stands for all that share it."""
        self._grams = {name: torch.zeros(width, width) for name, width in widths.items()}
        self._sums = {name: torch.zeros(width) for name, width in widths.items()}
        self._rows = dict.fromkeys(widths, 0)

    def __call__(
        self, node: Node, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor], lengths: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
        """Count the valid rows that the node reads (an ``Operands``, see network/execute.py)."""
        if node.name in self._grams:
            for part in without_padding(inputs[0], lengths):
                for rows in _rows(node, part):
                    self._grams[node.name].addmm_(rows.T, rows)
                    self._sums[node.name] += rows.sum(0)
                    self._rows[node.name] += len(rows)
        return inputs, weights

    def moments(self) -> dict[str, Moments]:
        """What was found; the observer is spent by it."""
        counted = {name: max(1, rows) for name, rows in self._rows.items()}
        return {
            name: Moments(self._grams[name].div_(rows), self._sums[name].div_(rows), self._rows[name])
            for name, rows in counted.items()
        }


def _rows(node: Node, x: Tensor) -> Iterator[Tensor]:
    """The rows ``[M, K]`` of an input without padding: its frames, or the windows ``[in, kernel]`` of a convolution."""
    if node.kind != "conv1d":
        yield x.reshape(-1, x.shape[-1])
        return
    a = node.attrs
    windows = pad(x, (0, 0, a["padding"], a["padding"])).unfold(-2, a["kernel"], a["stride"])  # [..., T', in, kernel]
    windows = windows.narrow(-3, 0, windows.shape[-3] - a["trim"])
    for utterance in windows if x.dim() == 3 else (windows,):
        for part in utterance.split(max(1, _CHUNK // utterance[0].numel())):
            yield part.flatten(1)


def observe_moments(
    model: SpeechModel, batches: Iterable[Sequence[NDArray[np.float32]]], layers: Iterable[str]
) -> dict[str, Moments]:
    """Run the float ``model`` over ``batches`` of waveforms and return the moments of the rows that ``layers`` read."""
    weights = model.layer_weights()
    observer = GramObserver({name: weights[name][0].numel() for name in layers})
    watch(model, batches, observer)
    return observer.moments()
