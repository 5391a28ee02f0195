"""GPTQ: round the weights of a layer one input at a time, and let the inputs that follow make up for what rounding left.

Frantar, Ashkboos, Hoefler and Alistarh 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", arXiv 2210.17323. Nothing but numbers: it needs the second moments of what the layer reads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stablequant.grid.affine import code_limits
from stablequant.grid.weights import QuantizedWeight, WeightSpec, quantize_weight, stretched

if TYPE_CHECKING:
    import torch

#: Added to the diagonal of the second moments, as a share of its mean: the paper's.
DAMPING = 0.01
#: Inputs that are rounded before the rest of the matrix is updated, in one product.
BLOCK = 64


def gptq(
    w: torch.Tensor, gram: torch.Tensor, spec: WeightSpec, *, act_order: bool = True, damping: float = DAMPING
) -> QuantizedWeight:
    """Return weights as the integers for which the layer's output changes least, as far as a greedy sweep finds them.

    With H the damped ``gram`` and U the upper Cholesky factor of its inverse, input j of every output channel is rounded to the
    nearest code, its error e divided by ``U[j, j]``, and ``e U[j, k]`` taken off each later input k. Scales are those that
    `quantize_weight` has, made before. An output channel whose ``d gram d^T``, with d the change of its weights, is not
    less than with the nearest codes, keeps those: rounding is greedy, and codes end somewhere.

    Args:
        w: Weights ``[out, ...]``, K of them an output channel.
        gram: Mean of ``x x^T`` over the layer's input rows ``[K, K]``; a convolution's row is a window ``[in, kernel]``.
        spec: Width, granularity and range.
        act_order: Round the inputs with the largest second moments first; else as they lie.
        damping: See `DAMPING`.

    Raises:
        ModelError: The weights are not finite.
    """
    import torch

    nearest = quantize_weight(w, replace(spec, rounding="nearest", correct_bias=False))
    rows = w.detach().float().reshape(len(w), -1)
    gram = gram.to(rows)
    steps = stretched(nearest.scales, rows.shape, spec).expand(rows.shape)
    diagonal = gram.diagonal()
    order = diagonal.argsort(descending=True, stable=True) if act_order else torch.arange(len(gram), device=w.device)
    factor = _inverse_factor(gram[order][:, order], damping)
    swept = _sweep(rows.T[order], steps.T[order], factor, code_limits(spec.bits))
    codes = torch.empty_like(swept)
    codes[order] = swept
    found, plain = codes.T.contiguous(), nearest.codes.reshape(rows.shape).float()
    better = _error(rows - found * steps, gram) < _error(rows - plain * steps, gram)
    chosen = torch.where(better[:, None], found, plain)
    return QuantizedWeight(chosen.to(nearest.codes.dtype).reshape(w.shape), nearest.scales, spec)


def _inverse_factor(gram: torch.Tensor, damping: float) -> torch.Tensor:
    """U, upper, with ``U^T U = H^-1`` and H the damped ``gram``; in float64, given back in the type of ``gram``.

    Turned round in both axes, the lower Cholesky factor of H turned round is R, upper, with ``H = R R^T``: so U is its inverse.
    """
    import torch

    damped = gram.double()
    mean = float(damped.diagonal().mean())
    # Where nothing was ever read anything rounds alike, and there is no mean to take a share of.
    damped.diagonal().add_(damping * mean if mean > 0 else 1.0)
    lower: torch.Tensor = torch.linalg.cholesky(damped.flip(0, 1))
    identity = torch.eye(len(damped), dtype=damped.dtype, device=damped.device)
    factor: torch.Tensor = torch.linalg.solve_triangular(lower.flip(0, 1), identity, upper=True)
    return factor.to(gram)


def _sweep(inputs: torch.Tensor, steps: torch.Tensor, factor: torch.Tensor, limits: tuple[int, int]) -> torch.Tensor:
    """Codes ``[K, out]`` of weights ``[K, out]``, rounded from the first input to the last."""
    import torch

    inputs = inputs.contiguous().clone()
    codes = torch.empty_like(inputs)
    for start in range(0, len(inputs), BLOCK):
        stop = min(start + BLOCK, len(inputs))
        errors = inputs.new_empty(stop - start, inputs.shape[1])
        for j in range(start, stop):
            torch.div(inputs[j], steps[j], out=codes[j]).round_().clamp_(*limits)
            error = torch.addcmul(inputs[j], codes[j], steps[j], value=-1).div_(factor[j, j])
            inputs[j + 1 : stop].addr_(factor[j, j + 1 : stop], error, alpha=-1)
            errors[j - start] = error
        inputs[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1)
    return codes


def _error(change: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    """``d gram d^T`` of each row d of ``change``: the mean squared change of that output."""
    return ((change @ gram) * change).sum(1)
