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
#: Output channels that are rounded at a time, for the memory it takes.
CHANNELS = 4096


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
    diagonal = gram.diagonal()
    order = diagonal.argsort(descending=True, stable=True) if act_order else torch.arange(len(gram), device=w.device)
    factor = _inverse_factor(gram, order, damping)
    codes = nearest.codes.reshape(rows.shape).clone()
    # Output channels do not depend on each other.
    for start in range(0, len(rows), CHANNELS):
        some = slice(start, start + CHANNELS)
        part, held = rows[some], codes[some]
        steps = stretched(nearest.scales, rows.shape, spec).expand(rows.shape)[some]
        swept = torch.empty_like(part.T)
        swept[order] = _sweep(part.T[order], steps.T[order], factor, code_limits(spec.bits))
        found = swept.T.contiguous()
        better = changes(part - found * steps, gram) < changes(part - held * steps, gram)
        held[better] = found[better].to(held.dtype)
    return QuantizedWeight(codes.reshape(w.shape), nearest.scales, spec)


def _inverse_factor(gram: torch.Tensor, order: torch.Tensor, damping: float) -> torch.Tensor:
    """U, upper, with ``U^T U = H^-1`` and H the damped ``gram`` in ``order``; in float64, given back in the type of ``gram``.

    Turned round in both axes, the lower Cholesky factor of H turned round is R, upper, with ``H = R R^T``: so U is its inverse.
    That is the inverse of the lower factor, turned round. Of a large layer a matrix takes 200 MB, so steps are done in place.
    """
    import torch

    back = order.flip(0)
    damped = gram[back[:, None], back].double().mT  # in LAPACK's layout, as is all that follows: it need not copy
    mean = float(damped.diagonal().mean())
    # Where nothing was ever read anything rounds alike, and there is no mean to take a share of.
    damped.diagonal().add_(damping * mean if mean > 0 else 1.0)
    torch.linalg.cholesky(damped, out=damped)
    inverse = torch.eye(len(damped), dtype=damped.dtype, device=damped.device).mT
    torch.linalg.solve_triangular(damped, inverse, upper=False, out=inverse)
    del damped
    return inverse.to(gram).flip(0, 1)


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


def changes(change: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    """``d gram d^T`` of each row d of ``change`` ``[out, K]``: the mean squared change of that output."""
    return ((change @ gram) * change).sum(1)
