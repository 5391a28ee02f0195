from __future__ import annotations

import numpy as np
import pytest

from stablequant.errors import SettingsError
from stablequant.grid.calibrators import CALIBRATORS


def divergence(counts: np.ndarray, cut: int, codes: int) -> float:
    """Return KL(P || Q) of one cut, word for word from its definition."""
    reference = counts[:cut].copy()
    reference[-1] += counts[cut:].sum()
    quantized = np.zeros(cut)
    code = np.arange(cut) * codes // cut
    for k in range(codes):
        members = (code == k) & (counts[:cut] > 0)
        if members.any():
            quantized[members] = counts[:cut][members].mean()
    p, q = reference / reference.sum(), np.where(quantized > 0, quantized, 1e-4) / quantized.sum()
    held = p > 0
    return float(np.sum(p[held] * np.log(p[held] / q[held])))


@pytest.mark.parametrize("codes", [8, 128])
def test_all_cuts_at_once_are_each_cut_alone(codes) -> None:
    from stablequant.grid.calibrators.entropy import _divergences

    generator = np.random.default_rng(0)
    for counts in (
        generator.poisson(5000 * np.exp(-np.arange(300) / 40)).astype(float),
        generator.integers(0, 2, 300) * generator.uniform(0, 9, 300),
    ):
        counts[-1] = 1
        expected = [divergence(counts, cut, codes) for cut in range(codes, 301)]
        assert _divergences(counts, codes) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_outliers_are_left_out_and_a_compact_tensor_is_not_cut(observe) -> None:
    x = np.random.default_rng(0).normal(0, 1, 200_000).astype(np.float32)
    x[:20] = 100
    amax = CALIBRATORS["entropy"](observe(x)).amax
    assert amax < 12
    flat = np.random.default_rng(0).uniform(-1, 1, 200_000).astype(np.float32)
    assert CALIBRATORS["entropy"](observe(flat)).amax > 0.97


def test_asymmetric_goes_no_farther_than_the_data(observe) -> None:
    x = np.abs(np.random.default_rng(0).normal(0, 1, 50_000)).astype(np.float32)
    found = CALIBRATORS["entropy"](observe(x), symmetric=False)
    assert found.low == x.min()
    assert found.high == CALIBRATORS["entropy"](observe(x)).high


def test_fewer_bins_than_codes_are_refused(observe) -> None:
    with pytest.raises(SettingsError, match="too few"):
        CALIBRATORS["entropy"](observe(np.ones(3, np.float32)), linear_bins=64)
