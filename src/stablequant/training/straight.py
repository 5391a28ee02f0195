"""Rounding with a straight-through gradient: forward the simulation's own, backward one within the grid and zero outside.

Rounding is flat almost everywhere, so its derivative teaches nothing. The straight-through estimator takes that of the identity
(Bengio, Leonard and Courville 2013, arXiv 1308.3432); of a value that is clamped to an end of the grid it stays zero, as what
comes out does not follow it (Hubara et al. 2016, arXiv 1609.07061, equation 4).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stablequant.grid.affine import QuantParams, code_limits
from stablequant.grid.frame import ActivationSpec
from stablequant.grid.unrounded import Unrounded
from stablequant.grid.weights import WeightSpec, quantize_weight, stretched, weight_scales
from stablequant.network.graph import Node
from stablequant.quantize.simulate import fake_quantize, rows_of

#: Share by which two scales differ that are the same but for the rounding of float32.
SAME = 1e-5


def straight_activation(x: Tensor, spec: ActivationSpec, node: Node) -> Tensor:
    """``x`` as `fake_quantize` rounds it, with a gradient where it is not clamped.

    A scale of a frame or of a block covers all that it is made of, so nothing is clamped there. It counts as a constant.
    """
    if isinstance(spec, Unrounded):
        return x
    held = fake_quantize(x, spec, node)
    if isinstance(spec, QuantParams):
        ends = spec.unclipped
        return _through(x, held, (x >= ends.low) & (x <= ends.high))
    return _through(rows_of(x, node) if held.dim() > x.dim() else x, held, None)


def straight_weight(w: Tensor, spec: WeightSpec, scales: Tensor) -> Tensor:
    """Weights ``[out, ...]`` as `on_grid` has them, with a gradient where they are not clamped.

    Args:
        w: The weights.
        spec: How they are rounded, to the nearest code.
        scales: As `weight_scales` gives them, of these weights or of what they once were. They count as constants.
    """
    ends = _ends(w, spec, scales)
    rows = w.detach().flatten(1).abs()
    return _through(w, on_grid(w, spec, scales), (rows <= ends + _steps(w, spec, scales) / 2).reshape(w.shape))


def on_grid(w: Tensor, spec: WeightSpec, scales: Tensor) -> Tensor:
    """What the nearest codes of weights stand for, the lowest code left out.

    So the largest magnitude is that of the highest code, as a rule, and tells the scale (`kept_on_grid`).
    """
    ends = _ends(w, spec, scales)
    rows = w.detach().flatten(1)
    return quantize_weight(torch.clamp(rows, -ends, ends).reshape(w.shape), spec, scales).dequantized()


def kept_on_grid(w: Tensor, spec: WeightSpec, scales: Tensor) -> Tensor:
    """`on_grid` where its largest magnitude tells the scale, and the weights as they are elsewhere: they are rounded anew.

    Whoever rounds the former again, by the largest magnitude or with the least error, finds these scales and these codes.
    """
    held = on_grid(w, spec, scales)
    told = weight_scales(held, replace(spec, range="max"))
    same = ((told - scales).abs() <= SAME * scales).to(scales.dtype)
    return torch.where(_steps(w, spec, same).bool().expand(w.flatten(1).shape).reshape(w.shape), held, w.detach())


def _steps(w: Tensor, spec: WeightSpec, scales: Tensor) -> Tensor:
    return stretched(scales, w.detach().flatten(1).shape, spec)


def _ends(w: Tensor, spec: WeightSpec, scales: Tensor) -> Tensor:
    return code_limits(spec.bits)[1] * _steps(w, spec, scales)


class _Through(torch.autograd.Function):
    """One tensor forward, the gradient of another backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, held: Tensor, within: Tensor | None) -> Tensor:
        ctx.save_for_backward(within)
        return held

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (within,) = ctx.saved_tensors
        return gradient if within is None else gradient * within, None, None


def _through(x: Tensor, held: Tensor, within: Tensor | None) -> Tensor:
    result: Tensor = _Through.apply(x, held, within)  # type: ignore[no-untyped-call]
    return result
