"""From histograms to schemes: the same calibrator everywhere, or the paper's mixture for a given p."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from stablequant.grid.affine import params_from_range
from stablequant.grid.calibrators import calibrate
from stablequant.grid.calibrators.clipped_mse import clipped_mse_range
from stablequant.grid.histogram import Histogram
from stablequant.observe.collect import Histograms
from stablequant.quantize.plan import LayerQuant
from stablequant.settings import Settings


def layer(histograms: Histograms, name: str, calibrator: str, settings: Settings, p: float = 0.0) -> LayerQuant:
    """Grids of one layer's activations by the calibrator called ``calibrator``, one plane each."""
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
    clipped = {
        name: _in_planes(histograms[name][0], settings, value)
        if settings.planes > 1 and len(histograms[name]) == 1
        else layer(histograms, name, "clipped_mse", settings, value)
        for name, value in p.items()
    }
    return {**base, **clipped}


def _in_planes(histogram: Histogram, settings: Settings, p: float) -> LayerQuant:
    """A grid whose range has the least squared error at the resolution that all planes have together."""
    whole = clipped_mse_range(
        histogram, bits=settings.planes * settings.bits, symmetric=settings.symmetric, p=p, removed=settings.removed
    )
    grid = params_from_range(whole, bits=settings.bits, symmetric=settings.symmetric)
    return (replace(grid, planes=settings.planes),)


def same_p(flagged: Iterable[str], p: float) -> dict[str, float]:
    """One p for all flagged layers: the paper's choice."""
    return dict.fromkeys(flagged, p)
