"""The schemes that a layer can have, by name: what a choice is made between."""

from __future__ import annotations

from dataclasses import replace

from stablequant.families.model import Op, SpeechModel
from stablequant.grid.affine import QuantParams, Range, params_from_range
from stablequant.grid.block import PerBlock
from stablequant.grid.calibrators import calibrate
from stablequant.grid.frame import PerFrame
from stablequant.grid.unrounded import Unrounded
from stablequant.grid.weights import PerGroup, WeightSpec
from stablequant.observe.collect import Histograms
from stablequant.quantize import calibrated
from stablequant.quantize.scheme import LayerScheme, in_rows, weight_spec
from stablequant.settings import Settings

STATIC = "static"
STATIC_SHIFTED = "static, shifted"
RESIDUAL = "residual code"
PER_FRAME = "per frame"
PER_FRAME_SHIFTED = "per frame, shifted"
PER_BLOCK = "per block"
WEIGHTS_ALONE = "weights alone"
#: Of the grid on the waveform: speech 6 dB louder than all of calibration is not clipped, for one bit of fifteen.
HEADROOM = 2.0
#: Of 4 bits, by the number of weights that share a scale.
FOUR_BITS = {size: f"4 bits by {size}" for size in (128, 64, 32)}
#: Sizes of blocks, the best first. A short block is filled up in the file.
SIZES = (128, 64, 32)


def options(model: SpeechModel, op: Op, histograms: Histograms, settings: Settings) -> dict[str, LayerScheme]:
    """The schemes that ``op`` can have, the plainest first, with one code an activation wherever that is enough.

    - The **convolution on the waveform** has one input channel and next to no cost, and 8 bits of a raw waveform are too few
      for quiet speech: a calibrated grid with a residual code, wide enough for speech twice as loud, and nothing else.
    - A **linear layer**, and a convolution whose windows lie inside its input: a calibrated grid, or a scale a frame (of a
      convolution: a window). Behind GELU, SiLU or ReLU either may be shifted by the function's own lower bound.
    - A linear layer whose **weights have groups** (the setting ``group``): a scale a block of its input, opposite each group. One
      whose activations have 16 bits: its weights alone are integers.
    - A linear layer where **bytes or divergence have a budget** (``target_bytes``, ``max_divergence``): also weights of 4 bits in
      groups of several sizes.
    - A linear layer of a graph that **runs step by step**, if the setting ``decoder`` says so: also a scale a block of its input
      and of its weights, the faster form with one row at a time (docs/recipes.md).
    - A convolution that is **padded or in groups** (its windows are no rows of one matrix) and a **product of activations**: a
      calibrated grid.

    Args:
        model: What is quantised.
        op: One of its operations.
        histograms: Of every activation.
        settings: The base calibrator and the widths.
    """
    settings = own_widths(model, op, settings)
    chosen = settings.activations
    if reads_waveform(model, op):
        return {RESIDUAL: calibrated.with_residual(histograms[op.name][0], settings, headroom=HEADROOM)}
    weight = weight_spec(settings.weights)
    if op.node.kind == "linear" and chosen.bits == Unrounded().bits:
        return {WEIGHTS_ALONE: LayerScheme((Unrounded(),), weight)}
    if isinstance(weight.per, PerGroup):
        return {PER_BLOCK: LayerScheme((PerBlock(chosen.bits, weight.per.size),), weight)}
    found = {STATIC: calibrated.layer(histograms, op.name, chosen.calibrator, settings)}
    if not in_rows(op.node):
        return found
    bound = model.graph(op.graph).lower_bound(op.node)
    if bound is not None:
        found[STATIC_SHIFTED] = LayerScheme((_shifted(histograms, op.name, bound, settings),), weight)
    found[PER_FRAME] = LayerScheme((PerFrame(chosen.bits),), weight)
    if bound is not None:
        found[PER_FRAME_SHIFTED] = LayerScheme((PerFrame(chosen.bits, -bound),), weight)
    if chosen.decoder == "block" and _in_steps(model, op):
        found[PER_BLOCK] = by_block(model, op, settings)
    if settings.search.mixed and op.node.kind == "linear":
        for size, name in FOUR_BITS.items():
            found[name] = LayerScheme((PerBlock(chosen.bits, size),), _four_bits(settings, size))
    return found


def narrowest(op: Op, settings: Settings) -> tuple[WeightSpec, ...]:
    """The weights that ``op`` may have under a budget of bytes or divergence, whatever its activations are."""
    weight = weight_spec(settings.weights)
    return (weight, *(_four_bits(settings, size) for size in FOUR_BITS)) if op.node.kind == "linear" else (weight,)


def _four_bits(settings: Settings, size: int) -> WeightSpec:
    return weight_spec(settings.updated(**{"weights.bits": 4, "weights.group": size}).weights)


def own_widths(model: SpeechModel, op: Op, settings: Settings) -> Settings:
    """The settings with the widths of ``op`` in place of those of all layers.

    Convolutions have their own, since what they read is wider spread and what they hold is little; so may linear layers that run
    step by step; products of activations have those of convolutions, as no runtime has kernels for others.
    """
    activations, weights = settings.activations, settings.weights
    if op.node.kind != "linear":
        return settings.updated(
            **{
                "activations.bits": activations.convolutions,
                "weights.bits": weights.convolutions,
                "weights.group": None,
            }
        )
    if _in_steps(model, op) and (weights.step_bits or weights.step_group):
        bits, group = weights.step_bits or weights.bits, weights.step_group or weights.group
        return settings.updated(**{"weights.bits": bits, "weights.group": group})
    return settings


def by_block(model: SpeechModel, op: Op, settings: Settings) -> LayerScheme:
    """A linear layer with a scale a block of its input and of its weights, of the largest size that leaves no block short."""
    weight = model.weight(op)
    assert weight is not None
    size = next((size for size in SIZES if weight.shape[1] % size == 0), SIZES[-1])
    spec = replace(weight_spec(settings.weights), per=PerGroup(size))
    return LayerScheme((PerBlock(settings.activations.bits, size),), spec)


def _in_steps(model: SpeechModel, op: Op) -> bool:
    """Whether an operation is a linear layer that runs step by step."""
    return op.node.kind == "linear" and model.graph(op.graph).runs_in_steps


def reads_waveform(model: SpeechModel, op: Op) -> bool:
    """Whether an operation is a convolution on the raw waveform."""
    weight = model.weight(op)
    return op.node.kind == "conv1d" and weight is not None and weight.shape[1] == 1 and op.node.attrs["groups"] == 1


def _shifted(histograms: Histograms, name: str, bound: float, settings: Settings) -> QuantParams:
    """A calibrated grid that begins at ``bound``: the code of zero moves, and the codes below it are not wasted."""
    (histogram,) = histograms[name]
    chosen = settings.activations
    low, high = bound, calibrate(chosen.calibrator, histogram, bits=chosen.bits, symmetric=False).range.high
    return params_from_range(Range(low, max(high, 0.0)), bits=chosen.bits, symmetric=False)
