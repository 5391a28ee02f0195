from __future__ import annotations

import numpy as np
import pytest

from stablequant.errors import DataError, SettingsError
from stablequant.grid.affine import Range
from stablequant.grid.calibrators import CALIBRATORS, calibrate, calibrator
from stablequant.grid.histogram import Histogram


def test_max_and_percentile_are_those_of_the_samples(activation, observe) -> None:
    histogram = observe(activation)
    exact = CALIBRATORS["max"](histogram)
    assert (exact.low, exact.high) == (activation.min(), activation.max())
    assert CALIBRATORS["percentile"](histogram, percentile=100.0).amax == np.abs(activation).max()
    amax = CALIBRATORS["percentile"](histogram, percentile=99.9).high
    assert amax == pytest.approx(np.percentile(np.abs(activation), 99.9), rel=2.0**-7)
    both = CALIBRATORS["percentile"](histogram, percentile=99.0, symmetric=False)
    expected = np.percentile(activation, [0.5, 99.5])
    assert [both.low, both.high] == pytest.approx(expected, rel=2.0**-7, abs=1e-6)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(SettingsError, match="max, percentile, mse, entropy, clipped_mse"):
        calibrate("median", Histogram())


def test_an_unknown_option_lists_the_known(observe) -> None:
    histogram = observe(np.ones(3, np.float32))
    with pytest.raises(SettingsError, match="no option q.*only p, removed"):
        calibrate("clipped_mse", histogram, q=1)
    with pytest.raises(SettingsError, match="no options"):
        calibrate("max", histogram, p=1)


@pytest.mark.parametrize("name", CALIBRATORS)
def test_an_empty_histogram_is_named(name) -> None:
    with pytest.raises(DataError, match=r"histogram of encoder\.fc1 is empty"):
        calibrate(name, Histogram("encoder.fc1"))


@pytest.mark.parametrize("name", CALIBRATORS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_all_zero_has_a_grid(name, symmetric, observe) -> None:
    assert calibrate(name, observe(np.zeros(10, np.float32)), symmetric=symmetric).scale == 1.0


def test_a_registered_calibrator_is_used_by_its_name_with_its_own_options(observe, monkeypatch) -> None:
    monkeypatch.setattr("stablequant.grid.calibrators.CALIBRATORS", dict(CALIBRATORS))

    @calibrator("half")
    def half_range(histogram: Histogram, *, bits: int, symmetric: bool, share: float = 0.5) -> Range:
        return Range(-share * histogram.maximum, share * histogram.maximum)

    histogram = observe(np.array([-1.0, 8.0], np.float32))
    assert calibrate("half", histogram).scale == np.float32(4 / 127)
    assert calibrate("half", histogram, share=0.25).scale == np.float32(2 / 127)
    with pytest.raises(SettingsError, match="no option p.*only share"):
        calibrate("half", histogram, p=1)
    with pytest.raises(SettingsError, match="there is a calibrator 'half' already"):
        calibrator("half")(CALIBRATORS["max"])
    assert calibrator("half")(half_range) is half_range
