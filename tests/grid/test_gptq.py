"""GPTQ: by hand, by the formulas it is derived from, against all codes there are, and never worse than the nearest."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stablequant.errors import ModelError, SettingsError
from stablequant.grid import gptq as rounding
from stablequant.grid.affine import code_limits
from stablequant.grid.gptq import BLOCK, DAMPING, gptq
from stablequant.grid.moments import Moments, fit_weight
from stablequant.grid.weights import (
    Granularity,
    PerChannel,
    PerGroup,
    PerTensor,
    QuantizedWeight,
    WeightSpec,
    quantize_weight,
)

GPTQ = WeightSpec(3, rounding="gptq")


def nearest(w: Tensor, spec: WeightSpec) -> QuantizedWeight:
    return quantize_weight(w, replace(spec, rounding="nearest", correct_bias=False))


def inputs(rows: int, width: int, seed: int = 0) -> Tensor:
    """Rows whose channels are correlated, of unequal size and not about 0, as those of a network are."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(rows, width, generator=generator) @ torch.randn(width, width, generator=generator)
    return mixed * torch.exp(torch.randn(width, generator=generator)) + torch.randn(width, generator=generator)


def moments(x: Tensor) -> Moments:
    return Moments(x.T @ x / len(x), x.mean(0), len(x))


def weights(out: int, width: int, seed: int = 1) -> Tensor:
    return torch.randn(out, width, generator=torch.Generator().manual_seed(seed))


def error(w: Tensor, made: QuantizedWeight, x: Tensor) -> Tensor:
    """Mean squared change of each output on rows ``x``."""
    return ((x @ (w - made.dequantized()).flatten(1).T) ** 2).mean(0)


def test_a_case_by_hand() -> None:
    # The second and the third input are always alike, so 0.4 + 0.4 can be 0 + 1, where the nearest codes make it 0 + 0. The
    # first, 3, sets a scale of 1.
    w, gram = torch.tensor([[3.0, 0.4, 0.4]]), torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 1, 1]])
    assert nearest(w, GPTQ).codes.tolist() == [[3, 0, 0]]
    assert gptq(w, gram, GPTQ).codes.tolist() == [[3, 0, 1]]
    # The largest second moment comes first: what it leaves goes to the others.
    larger = torch.diag(torch.tensor([1.0, 1, 2])) @ gram @ torch.diag(torch.tensor([1.0, 1, 2]))
    w = torch.tensor([[3.0, 0.3, 0.4]])  # 0.3 + 2 * 0.4 = 1.1: 1 + 2 * 0, or -1 + 2 * 1
    assert gptq(w, larger, GPTQ).codes.tolist() == [[3, 1, 0]]
    assert gptq(w, larger, GPTQ, act_order=False).codes.tolist() == [[3, 0, 1]]


def by_the_definition(w: Tensor, gram: Tensor, spec: WeightSpec, order: list[int]) -> np.ndarray:
    """Codes ``[out, K]`` by Optimal Brain Quantization's own step, the inverse Hessian of what is left made anew each time.

    Frantar and Alistarh 2022, arXiv 2208.11580, equation 3: after input p is rounded, the others change by
    ``-(w_p - q(w_p)) / [H^-1]_pp * H^-1_:,p``, with H of the inputs that are not rounded yet.
    """
    step = nearest(w, spec).scales.double().reshape(-1, 1).numpy()
    low, high = code_limits(spec.bits)
    rows, hessian = w.double().numpy().copy(), gram.double().numpy()
    hessian = hessian + DAMPING * hessian.diagonal().mean() * np.eye(len(hessian))
    codes = np.zeros_like(rows)
    for number, p in enumerate(order):
        left = order[number:]
        inverse = np.linalg.inv(hessian[np.ix_(left, left)])
        codes[:, p] = np.clip(np.round(rows[:, p] / step[:, 0]), low, high)
        rows[:, left] -= np.outer((rows[:, p] - codes[:, p] * step[:, 0]) / inverse[0, 0], inverse[0])
    return codes


@pytest.mark.parametrize("act_order", [True, False])
@pytest.mark.parametrize("bits", [3, 8])
def test_it_is_the_step_that_it_is_derived_from(act_order: bool, bits: int) -> None:
    width, spec = BLOCK + 30, replace(GPTQ, bits=bits)
    w, x = weights(12, width), inputs(400, width)
    gram = moments(x).gram
    order = gram.diagonal().argsort(descending=True, stable=True).tolist() if act_order else list(range(width))
    expected = torch.from_numpy(by_the_definition(w, gram, spec, order))
    made = gptq(w, gram, spec, act_order=act_order)
    assert torch.equal(made.codes.double(), expected)
    assert (error(w, made, x) < error(w, nearest(w, spec), x)).all()


def test_it_comes_closer_to_the_best_of_all_codes_than_the_nearest() -> None:
    w, x = weights(40, 4), inputs(100, 4)
    plain = nearest(w, GPTQ)
    codes = torch.tensor(list(itertools.product(range(-4, 4), repeat=4)), dtype=torch.float32)
    change = w[:, None] - codes * plain.scales[:, None, None]
    best = torch.einsum("ock,kl,ocl->oc", change, moments(x).gram, change).amin(1)
    made, naive = error(w, gptq(w, moments(x).gram, GPTQ), x), error(w, plain, x)
    assert (best <= made * 1.001 + 1e-6).all()
    assert (made - best).sum() < 0.5 * (naive - best).sum()


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    out=st.integers(1, 6),
    width=st.integers(1, 90),
    rows=st.integers(1, 120),
    bits=st.integers(2, 10),
    per=st.sampled_from([PerChannel(), PerTensor(), PerGroup(7), PerGroup(64)]),
    range=st.sampled_from(["max", "mse"]),
    act_order=st.booleans(),
    correct_bias=st.booleans(),
)
def test_no_output_changes_more_than_with_the_nearest_codes(
    seed: int,
    out: int,
    width: int,
    rows: int,
    bits: int,
    per: Granularity,
    range: str,
    act_order: bool,
    correct_bias: bool,
) -> None:
    w, x = weights(out, width, seed), inputs(rows, width, seed)
    spec = WeightSpec(bits, per, range, "gptq", correct_bias)
    plain = fit_weight(w, replace(spec, rounding="nearest"), moments(x))
    made = fit_weight(w, spec, moments(x), act_order=act_order)

    def changes(held: QuantizedWeight) -> Tensor:
        lost = x.double() @ (w - held.dequantized()).double().T
        return ((lost - (0 if held.correction is None else held.correction)) ** 2).mean(0)

    assert (changes(made) <= changes(plain) + 1e-6 * (x @ w.T).square().mean(0)).all()
    assert torch.equal(made.scales, plain.scales)
    assert made.spec == spec


@pytest.mark.parametrize("spec", [GPTQ, replace(GPTQ, per=PerGroup(5)), replace(GPTQ, bits=12, per=PerTensor())])
def test_a_convolution_s_weights_are_rows_of_windows(spec: WeightSpec) -> None:
    w, x = weights(6, 12).reshape(6, 4, 3), inputs(50, 12)
    flat, made = gptq(w.flatten(1), moments(x).gram, spec), gptq(w, moments(x).gram, spec)
    assert made.codes.shape == made.dequantized().shape == w.shape
    assert torch.equal(made.codes.flatten(1), flat.codes)
    assert made.codes.dtype == nearest(w, spec).codes.dtype


def test_what_is_never_read_is_rounded_to_the_nearest() -> None:
    w = weights(5, 8)
    assert torch.equal(gptq(w, torch.zeros(8, 8), GPTQ).codes, nearest(w, GPTQ).codes)
    x = inputs(100, 8)
    x[:, 3] = 0
    assert torch.equal(gptq(w, moments(x).gram, GPTQ).codes[:, 3], nearest(w, GPTQ).codes[:, 3])


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
def test_a_corrected_bias_leaves_no_error_in_the_mean(rounding: str) -> None:
    w, x = weights(6, 20), inputs(300, 20)
    spec = WeightSpec(3, rounding=rounding, correct_bias=True)
    made = fit_weight(w, spec, moments(x))
    assert made.correction is not None
    lost = x @ (w - made.dequantized()).T - made.correction
    assert lost.mean(0).abs().max() < 1e-4 * lost.std(0).max()
    # Without the mean, which the bias takes care of, more of the rest can be made up for.
    plain = fit_weight(w, replace(spec, correct_bias=False), moments(x))
    assert plain.correction is None
    assert lost.square().mean() < (x @ (w - plain.dequantized()).T).square().mean()


def test_weights_that_need_speech_are_not_rounded_without() -> None:
    for spec in (GPTQ, WeightSpec(correct_bias=True)):
        with pytest.raises(
            SettingsError, match="rounded for calibration speech, and none is at hand.*Expected rounding=nearest"
        ):
            quantize_weight(weights(2, 3), spec)
    with pytest.raises(ModelError, match="NaN"):
        gptq(torch.tensor([[1.0, float("nan")]]), torch.eye(2), GPTQ)


def test_output_channels_that_are_rounded_apart_get_the_same_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    w, gram = weights(10, 70), moments(inputs(300, 70)).gram
    together = gptq(w, gram, GPTQ).codes
    monkeypatch.setattr(rounding, "CHANNELS", 3)
    assert torch.equal(gptq(w, gram, GPTQ).codes, together)
