from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stablequant.errors import ModelError, SettingsError
from stablequant.grid.affine import QuantParams, fake_quantize
from stablequant.grid.weights import (
    Granularity,
    PerChannel,
    PerGroup,
    PerTensor,
    QuantizedWeight,
    WeightSpec,
    quantize_weight,
    weight_scales,
)


def weights(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(shape, generator=generator)
    return w * torch.exp(torch.randn(shape[0], generator=generator)).reshape(-1, *(1,) * (len(shape) - 1))


def squared(w: torch.Tensor, made: QuantizedWeight) -> torch.Tensor:
    """Squared error of each output channel."""
    return (made.dequantized().double() - w).square().flatten(1).sum(dim=1)


def on_scales(w: torch.Tensor, scales: torch.Tensor, bits: int) -> torch.Tensor:
    """Squared error of each output channel on other scales, by the arithmetic of the activations."""
    rows = zip(w.flatten(1).numpy(), scales.expand(len(w)).tolist(), strict=True)
    moved = np.stack([fake_quantize(row, QuantParams(scale, 0, bits)) for row, scale in rows])
    return (torch.from_numpy(moved).double() - w.flatten(1)).square().sum(dim=1)


@pytest.mark.parametrize("shape", [(6, 40), (6, 4, 5), (6, 1)])
def test_max_covers_each_channel_exactly(shape) -> None:
    w = weights(*shape)
    made = quantize_weight(w, WeightSpec())
    assert made.scales.shape == (6,)
    assert torch.allclose(made.scales, w.flatten(1).abs().amax(dim=1) / 127)
    assert made.codes.flatten(1).abs().amax(dim=1).tolist() == [127] * 6
    whole = quantize_weight(w, WeightSpec(per=PerTensor()))
    assert whole.scales.tolist() == [pytest.approx(float(w.abs().max()) / 127)]
    assert whole.codes.shape == whole.dequantized().shape == w.shape


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("per", [PerChannel(), PerTensor(), PerGroup(300), PerGroup(70)])
def test_it_is_the_arithmetic_of_the_activations(bits: int, per: Granularity) -> None:
    w = weights(5, 300)
    made = quantize_weight(w, WeightSpec(bits, per, "mse"))
    width = per.size if isinstance(per, PerGroup) else 300
    for row, scales, fake in zip(
        w, made.scales.reshape(len(made.scales), -1).expand(5, -1), made.dequantized(), strict=True
    ):
        parts = zip(row.split(width), scales.tolist(), strict=True)
        expected = np.concatenate([fake_quantize(part.numpy(), QuantParams(scale, 0, bits)) for part, scale in parts])
        assert np.array_equal(expected, fake.numpy())


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("per", [PerChannel(), PerTensor()])
def test_mse_is_as_good_as_brute_force(bits: int, per: Granularity) -> None:
    w = weights(20, 500)
    w[3, 7] = 60.0
    by_max = WeightSpec(bits, per)
    naive = weight_scales(w, by_max)
    best = squared(w, quantize_weight(w, replace(by_max, range="mse")))
    tried = torch.stack([on_scales(w, naive * share / 500, bits) for share in range(50, 501)])
    if per == PerTensor():
        tried, best = tried.sum(dim=1), best.sum()
    assert (best <= squared(w, quantize_weight(w, by_max)) if per == PerChannel() else best <= tried[-1]).all()
    # Steps of one hundredth against five times finer; rows of 500 samples make the error itself uneven.
    assert (best <= tried.amin(dim=0) * 1.06).all()


@pytest.mark.parametrize("per", [PerChannel(), PerGroup(20)])
def test_blocks_do_not_change_the_result(per: Granularity, monkeypatch) -> None:
    w = weights(37, 50)
    spec = WeightSpec(4, per, "mse")
    whole = weight_scales(w, spec)
    monkeypatch.setattr("stablequant.grid.weights._BLOCK", 400)
    assert torch.equal(weight_scales(w, spec), whole)


@pytest.mark.parametrize("range", ["max", "mse"])
@pytest.mark.parametrize("per", [PerChannel(), PerGroup(4), PerGroup(5)])
def test_a_zero_channel_stays_zero(range: str, per: Granularity) -> None:
    w = weights(3, 8)
    w[1] = 0
    made = quantize_weight(w, WeightSpec(per=per, range=range))
    assert (made.scales[1] == 1.0).all()
    assert made.dequantized()[1].abs().max() == 0


@pytest.mark.parametrize("bits", [3, 8])
def test_codes_are_int8_and_saturate(bits: int) -> None:
    """Where the scale of least error is too small for the two largest weights."""
    bulk = torch.rand(1, 20_000, generator=torch.Generator().manual_seed(1)) * 2 - 1
    made = quantize_weight(torch.cat([torch.tensor([[1.1, -1.1]]), bulk], 1), WeightSpec(bits, range="mse"))
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    assert 1.1 / float(made.scales) > high + 0.5
    assert made.codes[0, :2].tolist() == [high, low]
    assert (made.codes.amin(), made.codes.amax()) == (low, high)
    assert made.codes.dtype == torch.int8


def test_halves_go_to_the_even_code_and_wide_codes_are_int16() -> None:
    w = torch.tensor([[127.0, 2.5, 3.5, -0.5]])
    assert quantize_weight(w, WeightSpec()).codes.tolist() == [[127, 2, 4, 0]]
    wide = quantize_weight(w * 258, WeightSpec(bits=16))
    assert wide.codes.dtype == torch.int16
    assert wide.codes[0, 0] == 32767


def test_each_group_has_a_scale_and_the_last_may_be_short() -> None:
    w = weights(6, 4, 5)
    made = quantize_weight(w, WeightSpec(per=PerGroup(8)))
    assert made.scales.shape == (6, 3)
    parts = w.flatten(1).split(8, dim=1)
    assert [part.shape[1] for part in parts] == [8, 8, 4]
    for scales, part in zip(made.scales.T, parts, strict=True):
        assert torch.allclose(scales, part.abs().amax(dim=1) / 127)
    # An error is at most half a step, so in the worst case a group's is never above its channel's.
    assert (made.scales <= weight_scales(w, WeightSpec())[:, None]).all()
    assert made.codes.shape == made.dequantized().shape == w.shape
    for codes in made.codes.flatten(1).split(8, dim=1):
        assert codes.abs().amax(dim=1).tolist() == [127] * 6


@pytest.mark.parametrize("range", ["max", "mse"])
@pytest.mark.parametrize("size", [20, 21, 1000])
def test_a_group_as_wide_as_the_row_is_the_channel(range: str, size: int) -> None:
    w = weights(6, 4, 5)
    channel = quantize_weight(w, WeightSpec(4, PerChannel(), range))
    group = quantize_weight(w, WeightSpec(4, PerGroup(size), range))
    assert torch.equal(group.scales, channel.scales[:, None])
    assert torch.equal(group.codes, channel.codes)
    assert torch.equal(group.dequantized(), channel.dequantized())


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_smaller_groups_err_less(bits: int) -> None:
    """Of least error: each group's scale is at least as good for it as the scale of the whole channel, to the search's step."""
    w = weights(20, 480) * torch.exp(torch.randn(480, generator=torch.Generator().manual_seed(2)))
    errors = [
        squared(w, quantize_weight(w, WeightSpec(bits, per, "mse")))
        for per in (PerGroup(16), PerGroup(60), PerGroup(480), PerChannel())
    ]
    for finer, coarser in zip(errors[:-1], errors[1:], strict=True):
        assert (finer <= coarser * 1.02).all()
    assert errors[0].sum() < 0.5 * errors[-1].sum()


def test_one_weight_a_group_is_exact() -> None:
    w = weights(3, 7)
    assert torch.allclose(quantize_weight(w, WeightSpec(2, PerGroup(1))).dequantized(), w, rtol=1e-6)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(SettingsError, match="groups of 0 weights.*at least 1"):
        PerGroup(0)
    with pytest.raises(SettingsError, match="max or mse"):
        WeightSpec(range="best")
    with pytest.raises(SettingsError, match="nearest"):
        WeightSpec(rounding="up")
    with pytest.raises(SettingsError, match="bits"):
        WeightSpec(bits=1)
    for value in ("nan", "inf", "-inf"):
        with pytest.raises(ModelError, match="NaN"):
            quantize_weight(torch.tensor([[1.0, float(value)]]), WeightSpec())
