"""A scheme with a scale a frame wherever it can be had: one pass over a little speech, and no search."""

from __future__ import annotations

from stablequant.families.model import SpeechModel
from stablequant.observe.collect import Histograms
from stablequant.quantize import calibrated
from stablequant.quantize.options import options
from stablequant.quantize.scheme import LayerScheme
from stablequant.settings import Settings


def base(model: SpeechModel, histograms: Histograms, settings: Settings) -> dict[str, LayerScheme]:
    """Every observed layer as the setting ``scales`` has it, before anything is searched."""
    if settings.activations.scales == "frame":
        return by_frame(model, histograms, settings)
    return calibrated.uniform(histograms, settings.activations.calibrator, settings)


def by_frame(model: SpeechModel, histograms: Histograms, settings: Settings) -> dict[str, LayerScheme]:
    """Every observed layer of ``model``, with a scale a frame where it can be had; static grids come from ``histograms``."""
    ops = [op for op in model.ops(matmuls=True) if op.name in histograms]
    # The last of a layer's options follows its input most closely.
    return {op.name: list(options(model, op, histograms, settings).values())[-1] for op in ops}
