from __future__ import annotations

import numpy as np
import pytest

from stablequant.errors import SettingsError
from stablequant.grid.calibrators import CALIBRATORS, calibrate

SWEEP = (0.0, 0.01, 0.02, 0.05, 0.1, 0.3, 0.5)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("removed", ["drop", "fold"])
def test_nothing_removed_is_mse_exactly(activation, observe, symmetric, removed) -> None:
    histogram = observe(activation)
    clipped = CALIBRATORS["clipped_mse"](histogram, symmetric=symmetric, p=0.0, removed=removed)
    assert clipped == CALIBRATORS["mse"](histogram, symmetric=symmetric)


@pytest.mark.parametrize("removed", ["drop", "fold"])
def test_the_range_never_passes_the_cut_off(activation, observe, removed) -> None:
    histogram = observe(activation)
    for p in SWEEP:
        cut = histogram.percentile_abs(100 - p)
        kept = CALIBRATORS["clipped_mse"](histogram, p=p, removed=removed)
        assert kept.amax <= cut
        kept = CALIBRATORS["clipped_mse"](histogram, p=p, removed=removed, symmetric=False)
        assert kept.amax <= cut + (kept.high - kept.low) / 255


def test_it_is_mse_of_the_samples_that_are_left(activation, observe) -> None:
    histogram = observe(activation)
    for p in SWEEP[1:]:
        cut = histogram.percentile_abs(100 - p)
        left = activation[np.abs(activation) <= cut]
        clipped = calibrate("clipped_mse", histogram, p=p).scale
        assert clipped == pytest.approx(calibrate("mse", observe(left)).scale, rel=0.02)
        folded = calibrate("clipped_mse", histogram, p=p, removed="fold").scale
        piled = np.clip(activation, -cut, cut).astype(np.float32)
        assert folded == pytest.approx(calibrate("mse", observe(piled)).scale, rel=0.02)
        assert folded >= clipped * (1 - 1e-9)


def test_removing_outliers_gives_the_bulk_its_steps_back(make, observe) -> None:
    histogram = observe(make("outliers"))
    scale = {p: calibrate("clipped_mse", histogram, p=p).scale for p in SWEEP}
    assert all(scale[a] >= scale[b] for a, b in zip(SWEEP, SWEEP[1:], strict=False))
    assert scale[0.0] > 10 * scale[0.05]


@pytest.mark.parametrize("options", [{"p": -0.1}, {"p": 100.0}, {"p": float("nan")}, {"removed": "hide"}])
def test_impossible_options_are_refused(observe, options) -> None:
    with pytest.raises(SettingsError):
        calibrate("clipped_mse", observe(np.ones(3, np.float32)), **options)
