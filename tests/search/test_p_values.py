"""Which p are tried: the paper's even steps, or as many that are even in the scale."""

from __future__ import annotations

import numpy as np
import pytest
import support

from stablequant.quantize import calibrated
from stablequant.search.p_values import p_values
from stablequant.settings import Settings

FLAGGED = tuple(f"wavlm.feature_extractor.conv_layers.{i}.conv" for i in (1, 2))
PAPER = Settings(p_step=0.05)
SCALE = Settings(p_step=0.05, p_spacing="scale")


def log_scales(values: tuple[float, ...], settings: Settings) -> np.ndarray:
    """Mean logarithm of the flagged layers' scales at each p."""
    found = []
    for p in values:
        grids = calibrated.mixed({}, support.histograms("graft"), calibrated.same_p(FLAGGED, p), settings)
        found.append(np.mean([np.log(grids[name].activations[0].scale) for name in FLAGGED]))
    return np.array(found)


def test_the_paper_s_grid_has_even_steps_of_p() -> None:
    assert p_values(support.histograms("graft"), FLAGGED, PAPER) == PAPER.search.candidates()


@pytest.mark.parametrize("planes", [1, 2])
def test_the_other_grid_has_even_steps_of_scale_at_the_same_cost(planes: int) -> None:
    paper = PAPER.updated(planes=planes)
    scale = SCALE.updated(planes=planes)
    values = p_values(support.histograms("graft"), FLAGGED, scale)
    assert len(values) == len(paper.search.candidates())
    assert list(values) == sorted(values)
    assert (values[0], values[-1]) == (0.0, 0.5)
    steps = -np.diff(log_scales(values, scale))
    paper_steps = -np.diff(log_scales(paper.search.candidates(), paper))
    assert steps.max() < 0.7 * paper_steps.max()
    assert steps.std() < 0.5 * paper_steps.std()


def test_a_scale_that_p_does_not_move_leaves_the_paper_s_grid() -> None:
    tiny = SCALE.updated(p_max=0.0)
    assert p_values(support.histograms("graft"), FLAGGED, tiny) == (0.0,)
    assert p_values(support.histograms("graft"), (), SCALE) == PAPER.search.candidates()
