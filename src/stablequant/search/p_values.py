"""Which values of p stage 2 tries: even steps of p as in the paper, or even steps of the scale that p leads to.

How much a step of p changes depends on the tail of the histogram: near 0 a hundredth of a per cent may halve the
scale, further on ten of them change nothing. Values that are even in the logarithm of the scale, averaged over the
flagged layers, spends the same number of trials where they differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stablequant.grid.affine import QuantParams
from stablequant.observe.collect import Histograms
from stablequant.quantize import calibrated
from stablequant.settings import Settings

#: Values of p at which the scale is looked up, geometric over so many powers of ten below p_max; between them it is
#: interpolated.
LOOKS, DECADES = 40, 4


def p_values(histograms: Histograms, flagged: Sequence[str], settings: Settings) -> tuple[float, ...]:
    """The values of p to try, in per cent of the mass, ascending from 0; as many for either spacing."""
    paper = settings.search.candidates()
    if settings.search.p_spacing == "paper" or len(paper) < 3 or not flagged:
        return paper
    looks = np.concatenate(([0.0], settings.search.p_max * np.logspace(-DECADES, 0, LOOKS)))
    sizes = np.array([_log_scale(histograms, flagged, p, settings) for p in looks.tolist()])
    # Clipping more never widens the range; where least squares says otherwise, the steps are taken as level.
    narrowed = np.maximum.accumulate(sizes[0] - sizes)
    if narrowed[-1] == 0:
        return paper
    even = np.interp(np.linspace(0, narrowed[-1], len(paper)), narrowed, looks)
    return tuple(sorted({0.0, *(round(p, 6) for p in even.tolist())}))


def _log_scale(histograms: Histograms, flagged: Sequence[str], p: float, settings: Settings) -> float:
    """Mean logarithm of the flagged layers' scales."""
    layers = calibrated.mixed({}, histograms, calibrated.same_p(flagged, p), settings)
    return float(
        np.mean(
            [
                np.log(grid.scale)
                for layer in layers.values()
                for grid in layer.activations
                if isinstance(grid, QuantParams)
            ]
        )
    )
