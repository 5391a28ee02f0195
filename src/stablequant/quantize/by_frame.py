"""A scheme with a scale a frame wherever it can be had: one pass over a little speech, and no search.

What sets each layer's form, by measurement (docs/recipes.md):

- a **linear layer** is rounded by frame; behind GELU, SiLU or ReLU on a grid shifted by the function's own lower bound;
- a **linear layer of a graph that runs step by step** has a scale a block of its input and of its weights, if the setting
  ``decoder`` says so: with few rows at a time it is the faster form;
- a **convolution** likewise, with one scale a window of frames;
- the **convolution on the waveform** has one input channel and next to no cost, and 8 bits of a raw waveform are too few for
  quiet speech: it gets a static grid with a residual code;
- a convolution that is **padded or in groups** keeps a static grid (its windows cannot be gathered as rows of one matrix), and so
  does a **product of activations**.
"""

from __future__ import annotations

from dataclasses import replace

from stablequant.families.model import Op, SpeechModel
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import PerFrame
from stablequant.grid.weights import PerGroup
from stablequant.observe.collect import Histograms
from stablequant.quantize import calibrated
from stablequant.quantize.scheme import LayerScheme, in_rows, weight_spec
from stablequant.settings import Settings

#: Sizes of blocks, the best first. A short block is filled up in the file.
SIZES = (128, 64, 32)


def base(model: SpeechModel, histograms: Histograms, settings: Settings) -> dict[str, LayerScheme]:
    """Every observed layer as the setting ``scales`` has it, before anything is searched."""
    if settings.activations.scales == "frame":
        return by_frame(model, histograms, settings)
    return calibrated.uniform(histograms, settings.activations.calibrator, settings)


def by_frame(model: SpeechModel, histograms: Histograms, settings: Settings) -> dict[str, LayerScheme]:
    """Every observed layer of ``model``, with a scale a frame where it can be had; static grids come from ``histograms``."""
    return {op.name: _layer(model, op, histograms, settings) for op in model.ops(matmuls=True) if op.name in histograms}


def _layer(model: SpeechModel, op: Op, histograms: Histograms, settings: Settings) -> LayerScheme:
    node = op.node
    if reads_waveform(model, op):
        return calibrated.with_residual(histograms[op.name][0], settings)
    if not in_rows(node):
        return calibrated.layer(histograms, op.name, settings.activations.calibrator, settings)
    graph = model.graph(op.graph)
    if settings.activations.decoder == "block" and node.kind == "linear" and graph.runs_in_steps:
        return by_block(model, op, settings)
    bound = graph.lower_bound(node)
    shift = None if bound is None else -bound
    return LayerScheme((PerFrame(settings.activations.bits, shift),), weight_spec(settings.weights))


def by_block(model: SpeechModel, op: Op, settings: Settings) -> LayerScheme:
    """A linear layer with a scale a block of its input and of its weights, of the largest size that leaves no block short."""
    weight = model.weight(op)
    assert weight is not None
    size = next((size for size in SIZES if weight.shape[1] % size == 0), SIZES[-1])
    spec = replace(weight_spec(settings.weights), per=PerGroup(size))
    return LayerScheme((PerBlock(settings.activations.bits, size),), spec)


def reads_waveform(model: SpeechModel, op: Op) -> bool:
    """Whether an operation is a convolution on the raw waveform."""
    weight = model.weight(op)
    return op.node.kind == "conv1d" and weight is not None and weight.shape[1] == 1 and op.node.attrs["groups"] == 1
