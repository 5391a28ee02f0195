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
SCALE = Settings(p_step=0.05, grid="scale")


def log_scales(values: tuple[float, ...], settings: Settings) -> np.ndarray:
    """Mean logarithm of the flagged layers' scales at each p."""
    found = []
    for p in values:
        grids = calibrated.mixed({}, support.histograms("graft"), calibrated.same_p(FLAGGED, p), settings)
        found.append(np.mean([np.log(grids[name][0].scale) for name in FLAGGED]))
    return np.array(found)


def test_the_paper_s_grid_has_even_steps_of_p() -> None:
    assert p_values(support.histograms("graft"), FLAGGED, PAPER) == PAPER.candidates()


@pytest.mark.parametrize("planes", [1, 2])
def test_the_other_grid_has_even_steps_of_scale_at_the_same_cost(planes: int) -> None:
    paper = PAPER.model_copy(update={"planes": planes})
    scale = SCALE.model_copy(update={"planes": planes})
    values = p_values(support.histograms("graft"), FLAGGED, scale)
    assert len(values) == len(paper.candidates())
    assert list(values) == sorted(values)
    assert (values[0], values[-1]) == (0.0, 0.5)
    steps = -np.diff(log_scales(values, scale))
    paper_steps = -np.diff(log_scales(paper.candidates(), paper))
    assert steps.max() < 0.7 * paper_steps.max()
    assert steps.std() < 0.5 * paper_steps.std()


def test_a_scale_that_p_does_not_move_leaves_the_paper_s_grid() -> None:
    tiny = SCALE.model_copy(update={"p_max": 0.0})
    assert p_values(support.histograms("graft"), FLAGGED, tiny) == (0.0,)
    assert p_values(support.histograms("graft"), (), SCALE) == PAPER.candidates()
