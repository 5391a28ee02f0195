"""Rounding is the simulation's own, and its gradient what the estimator says, on cases that are worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stablequant.grid.affine import QuantParams
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import ActivationSpec, PerFrame
from stablequant.grid.unrounded import Unrounded
from stablequant.grid.weights import PerChannel, PerGroup, WeightSpec, quantize_weight, weight_scales
from stablequant.network.graph import Node
from stablequant.quantize.simulate import fake_quantize
from stablequant.training.straight import kept_on_grid, straight_activation, straight_weight

LINEAR = Node("linear", "l", ("x",), ("y",))
#: Windows of three steps, two apart.
CONV = Node(
    "conv1d", "c", ("x",), ("y",), {"kernel": 3, "stride": 2, "padding": 0, "trim": 0, "groups": 1}, {"weight": "w"}
)


def gradient(y: Tensor, x: Tensor) -> list[float]:
    """Of y1 + 2 y2 + 3 y3 ..., so that each place shows whose gradient it has."""
    (found,) = torch.autograd.grad((y.flatten() * torch.arange(1.0, y.numel() + 1)).sum(), x)
    result: list[float] = found.flatten().tolist()
    return result


@pytest.mark.parametrize("planes", [1, 2])
def test_a_static_grid_passes_the_gradient_of_what_it_does_not_clamp(planes: int) -> None:
    grid = QuantParams(
        2.0, zero_point=1, bits=2, planes=planes
    )  # stands for -6, -4, -2, 0: to -7 and 1 rounds to a code
    x = torch.tensor([-7.1, -6.9, -3.0, 0.2, 0.9, 1.1], requires_grad=True)
    y = straight_activation(x, grid, LINEAR)
    assert torch.equal(y, fake_quantize(x.detach(), grid, LINEAR))
    assert y[[0, 4, 5]].tolist() == ([-6.0, 0.0, 0.0] if planes == 1 else pytest.approx([-7.0, 1.0, 1.0]))
    assert gradient(y, x) == [0, 2, 3, 4, 5, 0]


@pytest.mark.parametrize("spec", [PerFrame(4), PerFrame(4, 0.2), PerBlock(4, 2)])
def test_a_scale_of_its_own_clamps_nothing(spec: ActivationSpec) -> None:
    x = torch.tensor([[0.3, -0.2, 0.9, 0.1], [0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    y = straight_activation(x, spec, LINEAR)
    assert torch.equal(y, fake_quantize(x.detach(), spec, LINEAR))
    assert gradient(y, x) == list(range(1, 9))


def test_a_step_that_two_windows_see_has_the_gradient_of_both() -> None:
    x = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]).reshape(1, 5, 1).requires_grad_()
    y = straight_activation(x, PerFrame(4), CONV)
    assert y.shape == (1, 2, 3, 1)
    assert torch.equal(y, fake_quantize(x.detach(), PerFrame(4), CONV))
    assert gradient(y, x) == [1, 2, 3 + 4, 5, 6]


def test_what_stays_in_float_is_left_alone() -> None:
    x = torch.tensor([0.3], requires_grad=True)
    assert straight_activation(x, Unrounded(), LINEAR) is x


def test_weights_pass_the_gradient_within_their_group_s_grid_whose_lowest_code_is_not_used() -> None:
    spec = WeightSpec(3, PerGroup(2))  # codes -3 to 3
    w = torch.tensor([[1.4, -1.8, 0.35], [6.9, -7.1, 0.0]], requires_grad=True)
    scales = torch.tensor([[0.5, 0.1], [2.0, 1.0]])
    y = straight_weight(w, spec, scales)
    assert y.detach().flatten().tolist() == pytest.approx([1.5, -1.5, 0.3, 6.0, -6.0, 0.0])
    assert gradient(y, w) == [1, 0, 3, 4, 0, 6]


@pytest.mark.parametrize("reach", ["max", "mse"])
@pytest.mark.parametrize(("bits", "per"), [(4, PerGroup(32)), (8, PerChannel())])
def test_what_is_kept_on_its_grid_is_found_there_again_and_the_rest_is_as_it_was(bits, per, reach) -> None:
    random = torch.Generator().manual_seed(5)
    spec = WeightSpec(bits, per, reach)
    before = torch.randn(40, 96, generator=random)
    scales = weight_scales(before, spec)
    trained = before + 0.01 * torch.randn(40, 96, generator=random)
    trained[0] = 0.5 * before[0]  # its scale no longer fits
    kept = kept_on_grid(trained, spec, scales)
    codes = straight_weight(trained, spec, scales)
    again = quantize_weight(kept, spec).dequantized()
    on_grid = (kept == codes).all(1)
    assert torch.allclose(again[on_grid], codes[on_grid], rtol=1e-5, atol=0)
    assert torch.equal(kept[0], trained[0])
    whole = kept.reshape(-1, 32 if bits == 4 else 96)
    left = (whole == trained.reshape(whole.shape)).all(1)
    assert ((whole == codes.reshape(whole.shape)).all(1) | left).all()
    assert left.float().mean() < (0.1 if bits == 4 else 0.9)
