"""From histograms to schemes: the same calibrator everywhere, or the paper's mixture for a given p."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stablequant.calibrate import calibrate
from stablequant.config import Settings
from stablequant.observe.collect import Histograms
from stablequant.quantize.plan import LayerQuant


def layer(histograms: Histograms, name: str, calibrator: str, settings: Settings, p: float = 0.0) -> LayerQuant:
    """Grids of one layer's activations by the calibrator called ``calibrator``."""
    options: dict[str, object] = {}
    if calibrator == "percentile":
        options = {"percentile": settings.percentile}
    elif calibrator == "clipped_mse":
        options = {"p": p, "removed": settings.removed}
    return tuple(
        calibrate(calibrator, histogram, bits=settings.bits, symmetric=settings.symmetric, **options)
        for histogram in histograms[name]
    )


def uniform(histograms: Histograms, calibrator: str, settings: Settings) -> dict[str, LayerQuant]:
    """Every layer by the same calibrator: what other tools do."""
    return {name: layer(histograms, name, calibrator, settings) for name in histograms}


def mixed(
    base: Mapping[str, LayerQuant], histograms: Histograms, p: Mapping[str, float], settings: Settings
) -> dict[str, LayerQuant]:
    """``base`` with the layers in ``p`` clipped at their own p and given the scale of least squared error."""
    return {**base, **{name: layer(histograms, name, "clipped_mse", settings, value) for name, value in p.items()}}


def same_p(flagged: Iterable[str], p: float) -> dict[str, float]:
    """One p for all flagged layers: the paper's choice."""
    return dict.fromkeys(flagged, p)
