"""AdaRound: against all roundings there are, by its own loss, and on a real layer beside GPTQ."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import support
import torch
from torch import Tensor

from stablequant.errors import SettingsError
from stablequant.grid.adaround import adaround
from stablequant.grid.affine import code_limits
from stablequant.grid.gptq import changes, gptq
from stablequant.grid.moments import Moments, fit_weight
from stablequant.grid.weights import PerGroup, PerTensor, QuantizedWeight, WeightSpec, quantize_weight, stretched
from stablequant.observe.gram import observe_moments

ADAROUND = WeightSpec(4, rounding="adaround")
SPECS = [ADAROUND, replace(ADAROUND, per=PerGroup(5), range="mse"), replace(ADAROUND, bits=12, per=PerTensor())]


def nearest(w: Tensor, spec: WeightSpec) -> QuantizedWeight:
    return quantize_weight(w, replace(spec, rounding="nearest", correct_bias=False))


def drawn(out: int, width: int, rows: int = 300) -> tuple[Tensor, Tensor]:
    """Weights, and rows whose channels are correlated and not about 0."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(rows, width, generator=generator) @ torch.randn(width, width, generator=generator) + 1
    return torch.randn(out, width, generator=generator), x


def error(w: Tensor, made: QuantizedWeight, gram: Tensor) -> Tensor:
    return changes((w - made.dequantized()).flatten(1), gram)


@pytest.mark.parametrize("spec", SPECS)
def test_it_is_near_the_best_of_all_roundings(spec: WeightSpec) -> None:
    w, x = drawn(30, 10)
    gram, plain = x.T @ x / len(x), nearest(w, spec)
    made = adaround(w, gram, spec)
    steps = stretched(plain.scales, w.shape, spec).expand(w.shape)
    qmin, qmax = code_limits(spec.bits)
    below = (w / steps).floor().clamp(qmin, qmax - 1)
    up = torch.tensor(list(itertools.product((0.0, 1.0), repeat=10)))
    lost = w[:, None] - (below[:, None] + up) * steps[:, None]
    best = torch.einsum("ock,kl,ocl->oc", lost, gram, lost).amin(1)
    found = error(w, made, gram)
    assert ((made.codes - below) * (1 - (made.codes - below)) == 0).all()
    assert (found >= 0.999 * best).all()
    assert (found <= error(w, plain, gram) * 1.0001).all()
    # Inputs of which one follows from the others: steps and sweep end beside the best rounding, and far from the nearest.
    assert found.sum() < 1.2 * best.sum()
    assert (found - best).sum() < 0.25 * (error(w, plain, gram) - best).sum()
    assert torch.equal(adaround(w, gram, spec).codes, made.codes)
    assert torch.equal(made.scales, plain.scales)
    assert made.spec == spec


def test_more_steps_come_closer() -> None:
    w, x = drawn(60, 40)
    gram = x.T @ x / len(x)
    few, many = (float(error(w, adaround(w, gram, replace(ADAROUND, iterations=n)), gram).sum()) for n in (1, 100))
    assert many < 0.9 * few
    with pytest.raises(SettingsError, match="at least 1"):
        replace(ADAROUND, iterations=0)


def test_a_convolution_s_weights_are_rows_of_windows_and_a_bias_takes_the_mean() -> None:
    w, x = drawn(6, 12)
    moments = Moments(x.T @ x / len(x), x.mean(0), len(x))
    made = fit_weight(w.reshape(6, 4, 3), ADAROUND, moments)
    assert made.codes.shape == (6, 4, 3)
    assert torch.equal(made.codes.flatten(1), adaround(w, moments.gram, ADAROUND).codes)
    corrected = fit_weight(w, replace(ADAROUND, correct_bias=True), moments)
    assert corrected.correction is not None
    assert torch.equal(corrected.codes, adaround(w, moments.covariance, ADAROUND).codes)
    lost = x @ (w - corrected.dequantized()).T - corrected.correction
    assert lost.mean(0).abs().max() < 1e-4 * lost.std(0).max()


def test_what_is_never_read_is_rounded_to_the_nearest() -> None:
    w, _ = drawn(5, 8)
    assert torch.equal(adaround(w, torch.zeros(8, 8), ADAROUND).codes, nearest(w, ADAROUND).codes)


@pytest.mark.parametrize("spec", [WeightSpec(rounding="adaround"), replace(ADAROUND, per=PerGroup(32))])
def test_on_a_real_layer_it_is_far_below_the_nearest_and_near_gptq(spec: WeightSpec) -> None:
    name, model = "wavlm.encoder.layers.1.attention.q_proj", support.graft()
    moments = observe_moments(model, [[support.waveform("is-set-to")]], [name])[name]
    w = model.layer_weights()[name]
    found, plain, greedy = (
        float(error(w, made, moments.gram).sum())
        for made in (adaround(w, moments.gram, spec), nearest(w, spec), gptq(w, moments.gram, spec))
    )
    assert plain - found > 0.8 * (plain - greedy)
