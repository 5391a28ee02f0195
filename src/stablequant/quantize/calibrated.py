"""From histograms to schemes: the same calibrator everywhere, or the paper's mixture for a given p."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from stablequant.grid.affine import QuantParams, Range, params_from_range
from stablequant.grid.calibrators import calibrate
from stablequant.grid.calibrators.clipped_mse import clipped_mse_range
from stablequant.grid.histogram import Histogram
from stablequant.observe.collect import Histograms
from stablequant.quantize.scheme import LayerScheme, Scheme, weight_spec
from stablequant.settings import Settings


def layer(histograms: Histograms, name: str, calibrator: str, settings: Settings, p: float = 0.0) -> LayerScheme:
    """One layer by the calibrator called ``calibrator``, one code an activation."""
    chosen = settings.activations
    options: dict[str, object] = {}
    if calibrator == "percentile":
        options = {"percentile": chosen.percentile}
    elif calibrator == "clipped_mse":
        options = {"p": p, "removed": chosen.removed}
    grids = (
        calibrate(calibrator, histogram, bits=chosen.bits, symmetric=chosen.symmetric, **options)
        for histogram in histograms[name]
    )
    return _scheme(tuple(grids), settings)


def uniform(histograms: Histograms, calibrator: str, settings: Settings) -> dict[str, LayerScheme]:
    """Every layer by the same calibrator: what other tools do."""
    return {name: layer(histograms, name, calibrator, settings) for name in histograms}


def mixed(base: Scheme, histograms: Histograms, p: Mapping[str, float], settings: Settings) -> dict[str, LayerScheme]:
    """``base`` with the layers in ``p`` clipped at their own p and given the scale of least squared error."""
    clipped = {
        name: with_residual(histograms[name][0], settings, value)
        if settings.activations.planes > 1 and len(histograms[name]) == 1
        else layer(histograms, name, "clipped_mse", settings, value)
        for name, value in p.items()
    }
    return {**base, **clipped}


def same_p(flagged: Iterable[str], p: float) -> dict[str, float]:
    """One p for all flagged layers: the paper's choice."""
    return dict.fromkeys(flagged, p)


def with_residual(histogram: Histogram, settings: Settings, p: float = 0.0, headroom: float = 1.0) -> LayerScheme:
    """A grid whose range has the least squared error at the resolution that code and residual code have together.

    Args:
        histogram: Of the layer's input.
        settings: The width of each code, and what is done with clipped mass.
        p: Per cent of the mass that are clipped.
        headroom: By how many times the range is wider than that.
    """
    chosen = settings.activations
    whole = clipped_mse_range(histogram, bits=2 * chosen.bits, symmetric=chosen.symmetric, p=p, removed=chosen.removed)
    whole = Range(headroom * whole.low, headroom * whole.high)
    grid = params_from_range(whole, bits=chosen.bits, symmetric=chosen.symmetric)
    return _scheme((replace(grid, planes=2),), settings)


def _scheme(grids: tuple[QuantParams, ...], settings: Settings) -> LayerScheme:
    # A product of two activations has no weight.
    return LayerScheme(grids, weight_spec(settings.weights) if len(grids) == 1 else None)
