from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stablequant.grid.affine import QuantParams, fake_quantize, params_from_range
from stablequant.grid.calibrators import CALIBRATORS, calibrate
from stablequant.grid.error import quantization_error
from stablequant.grid.histogram import Histogram


def measured(x: np.ndarray, params: QuantParams) -> float:
    """Return the mean squared error on the samples themselves."""
    return float(np.mean((fake_quantize(x, params).astype(np.float64) - x) ** 2))


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_closed_form_is_the_error_of_the_samples(activation, observe, bits, symmetric) -> None:
    histogram = observe(activation)
    amax = float(np.abs(activation).max())
    for share in (1.0, 0.6, 0.2, 0.05):
        kept = CALIBRATORS["max"](histogram)
        kept = type(kept)(kept.low * share, kept.high * share)
        params = params_from_range(kept, bits=bits, symmetric=symmetric)
        # Samples are not quite uniform in a bin: a step or more wide only near the top, where there are few
        # of them.
        assert quantization_error(histogram, params) == pytest.approx(
            measured(activation, params), rel=0.01, abs=1e-12 * amax**2
        )


@given(
    st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=60),
    st.floats(0.05, 30),
    st.integers(-128, 127),
)
@settings(max_examples=100)
def test_the_closed_form_is_a_fine_integral(values, step, zero_point) -> None:
    """Against a midpoint sum of the same piecewise uniform density, for any grid."""
    histogram = Histogram()
    histogram.update(torch.tensor(values))
    params = QuantParams(step, zero_point)
    low, high, counts = histogram.nonempty()
    points = 2000
    x = low[:, None] + (high - low)[:, None] * (np.arange(points) + 0.5) / points
    codes = np.clip(np.rint(x / params.scale), -128 - zero_point, 127 - zero_point)
    expected = (((codes * params.scale - x) ** 2).mean(axis=1) * counts).sum() / counts.sum()
    # The sum's own error is about the width of a cell; a point bin is widened by 1e-6 of its value.
    widened = 4e-6 * max(map(abs, values)) * expected**0.5
    assert quantization_error(histogram, params) == pytest.approx(
        expected, rel=1e-3, abs=1e-6 * step**2 + 1e-9 + widened
    )


@pytest.mark.parametrize("bits", [4, 8])
def test_symmetric_is_as_good_as_a_brute_force_search(activation, observe, bits) -> None:
    amax = float(np.abs(activation).max())
    found = measured(activation, calibrate("mse", observe(activation), bits))
    qmax = 2 ** (bits - 1) - 1
    brute = min(
        measured(activation, QuantParams(amax * share / qmax, 0, bits)) for share in np.geomspace(0.005, 1, 300)
    )
    assert found <= brute * 1.005


@pytest.mark.parametrize("bits", [4, 8])
def test_asymmetric_is_as_good_as_a_brute_force_search(make, observe, bits) -> None:
    for kind in ("gelu", "outliers", "skewed"):
        x = make(kind, 20_000)
        found = measured(x, calibrate("mse", observe(x), bits, symmetric=False))
        low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
        brute = min(
            measured(x, QuantParams((high - low) * share / (2**bits - 1), int(zero), bits))
            for share in np.geomspace(0.01, 1, 30)
            for zero in np.unique(np.linspace(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 24).astype(int))
        )
        assert found <= brute * 1.005, kind


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
def test_no_other_calibrator_has_a_smaller_error(activation, observe, bits, symmetric) -> None:
    histogram = observe(activation)
    chosen = {name: calibrate(name, histogram, bits, symmetric) for name in CALIBRATORS}
    error = {name: quantization_error(histogram, params) for name, params in chosen.items()}
    assert error["mse"] <= min(error.values()) * (1 + 1e-4), error
    assert error["mse"] <= error["max"]


@given(
    st.lists(st.floats(-(2.0**60), 2.0**60, width=32), min_size=1, max_size=30),
    st.booleans(),
    st.sampled_from([2, 8]),
)
def test_any_tensor_has_an_answer_no_worse_than_max(values, symmetric, bits) -> None:
    histogram = Histogram()
    histogram.update(torch.tensor(values))
    least = quantization_error(histogram, calibrate("mse", histogram, bits, symmetric))
    naive = quantization_error(histogram, calibrate("max", histogram, bits, symmetric))
    # Both scales are rounded to float32 after the choice.
    assert least <= naive * (1 + 1e-6) + 1e-9 * max(map(abs, values)) ** 2


def test_a_constant_keeps_its_value(observe) -> None:
    for value in (0.0, 3.25, -7.5):
        x = np.full(1000, value, np.float32)
        for symmetric in (True, False):
            params = calibrate("mse", observe(x), symmetric=symmetric)
            assert fake_quantize(x[:1], params)[0] == pytest.approx(value, rel=1e-6)
