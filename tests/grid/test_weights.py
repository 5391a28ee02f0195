from __future__ import annotations

import numpy as np
import pytest
import torch

from stablequant.errors import ModelError, SettingsError
from stablequant.grid.affine import QuantParams, fake_quantize
from stablequant.grid.weights import fake_quantize_weight, quantize_weight, weight_scales


def weights(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(shape, generator=generator)
    return w * torch.exp(torch.randn(shape[0], generator=generator)).reshape(-1, *(1,) * (len(shape) - 1))


def squared(w: torch.Tensor, scales: torch.Tensor, bits: int = 8) -> torch.Tensor:
    return (fake_quantize_weight(w, scales, bits=bits).double() - w).square().flatten(1).sum(dim=1)


@pytest.mark.parametrize("shape", [(6, 40), (6, 4, 5), (6, 1)])
def test_max_covers_each_channel_exactly(shape) -> None:
    w = weights(*shape)
    scales = weight_scales(w)
    assert scales.shape == (6,)
    assert torch.allclose(scales, w.flatten(1).abs().amax(dim=1) / 127)
    assert quantize_weight(w, scales).flatten(1).abs().amax(dim=1).tolist() == [127] * 6
    whole = weight_scales(w, granularity="tensor")
    assert whole.tolist() == [pytest.approx(float(w.abs().max()) / 127)]
    assert quantize_weight(w, whole).shape == w.shape


@pytest.mark.parametrize("bits", [4, 8])
def test_it_is_the_arithmetic_of_the_activations(bits) -> None:
    w = weights(5, 300)
    scales = weight_scales(w, bits=bits, method="mse")
    for row, scale, fake in zip(w, scales, fake_quantize_weight(w, scales, bits=bits), strict=True):
        assert np.array_equal(fake_quantize(row.numpy(), QuantParams(float(scale), 0, bits)), fake.numpy())


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_mse_is_as_good_as_brute_force(bits, granularity) -> None:
    w = weights(20, 500)
    w[3, 7] = 60.0
    naive = weight_scales(w, bits=bits, granularity=granularity)
    best = squared(w, weight_scales(w, bits=bits, granularity=granularity, method="mse"), bits)
    tried = torch.stack([squared(w, naive * share / 500, bits) for share in range(50, 501)])
    if granularity == "tensor":
        tried, best = tried.sum(dim=1), best.sum()
    assert (best <= squared(w, naive, bits) if granularity == "channel" else best <= tried[-1]).all()
    # Steps of one hundredth against five times finer; rows of 500 samples make the error itself uneven.
    assert (best <= tried.amin(dim=0) * 1.06).all()


def test_blocks_do_not_change_the_result(monkeypatch) -> None:
    w = weights(37, 50)
    whole = weight_scales(w, method="mse", bits=4)
    monkeypatch.setattr("stablequant.grid.weights._BLOCK", 400)
    assert torch.equal(weight_scales(w, method="mse", bits=4), whole)


@pytest.mark.parametrize("method", ["max", "mse"])
def test_a_zero_channel_stays_zero(method) -> None:
    w = weights(3, 8)
    w[1] = 0
    scales = weight_scales(w, method=method)
    assert scales[1] == 1.0
    assert fake_quantize_weight(w, scales)[1].abs().max() == 0


def test_codes_are_int8_and_saturate() -> None:
    codes = quantize_weight(torch.tensor([[300.0, -300.0, 2.5]]), torch.tensor([1.0]))
    assert codes.tolist() == [[127, -128, 2]]
    assert codes.dtype == torch.int8


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(SettingsError, match="channel or tensor"):
        weight_scales(torch.ones(2, 2), granularity="group")
    with pytest.raises(SettingsError, match="max or mse"):
        weight_scales(torch.ones(2, 2), method="best")
    with pytest.raises(ModelError, match="NaN"):
        weight_scales(torch.tensor([[1.0, float("nan")]]))
