"""AdaRound: learn for every weight of a layer whether it is rounded down or up, so that the layer's output changes least.

Nagel, Amjad, van Baalen, Louizos and Blankevoort 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization", arXiv
2004.10568. Nothing but numbers: as `grid.gptq` it needs the second moments of what the layer reads, so a step costs one matrix
product instead of a pass over speech, and the gradient is written out. Nothing is drawn: the same weights give the same codes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stablequant.grid.affine import code_limits
from stablequant.grid.gptq import changes
from stablequant.grid.weights import QuantizedWeight, WeightSpec, quantize_weight, stretched

if TYPE_CHECKING:
    import torch

#: Ends of the stretched sigmoid, which is cut to 0 .. 1, and the exponents from and to which its regulariser goes: the paper's.
GAMMA, ZETA, FIRST_BETA, LAST_BETA = -0.1, 1.1, 20.0, 2.0
#: Weight of the regulariser, and of Adam the length of a step and how long it remembers. The paper takes 10,000 steps; these
#: come furthest in fifty (measured on layers of Moonshine tiny).
LAMBDA, LEARNING_RATE, BETAS, EPSILON = 10.0, 0.6, (0.8, 0.9), 1e-8
#: Weights that are learned at a time, to stay in the cache.
_BLOCK = 1 << 17


def adaround(w: torch.Tensor, gram: torch.Tensor, spec: WeightSpec) -> QuantizedWeight:
    """Return weights as the integers, each the next one below or above, for which the layer's output changes little.

    With d the change of an output channel's weights, the loss is ``d gram d^T`` plus a regulariser that draws each weight's
    place between its two codes, h in 0 .. 1, to one of them (equations 21 to 24 of the paper); a weight's share of it is
    ``LAMBDA scale^2`` times the mean second moment, so that `LAMBDA` has no unit. Three things differ from the paper. There
    is no warm start without the regulariser: for these inputs the loss of weights that are not rounded yet is 0. The slope of h
    is taken as that of the sigmoid also where h is cut, so such a weight may come back. And at the end each weight in turn gets
    its other code if that lowers the loss, since so few steps leave many that would.

    Scales are those that `quantize_weight` has. An output channel that changes no less than with the nearest codes keeps those.

    Args:
        w: Weights ``[out, ...]``, K of them an output channel.
        gram: Mean of ``x x^T`` over the layer's input rows ``[K, K]``; a convolution's row is a window ``[in, kernel]``.
        spec: Width, granularity, range, and the number of steps.

    Raises:
        ModelError: The weights are not finite.
    """
    nearest = quantize_weight(w, replace(spec, rounding="nearest", correct_bias=False))
    rows = w.detach().float().reshape(len(w), -1)
    gram = gram.to(rows)
    codes = nearest.codes.reshape(rows.shape).clone()
    size = max(1, _BLOCK // rows.shape[1])
    # Output channels do not depend on each other.
    for start in range(0, len(rows), size):
        some = slice(start, start + size)
        part, held = rows[some], codes[some]
        steps = stretched(nearest.scales, rows.shape, spec).expand(rows.shape)[some]
        found = _learned(part, steps, gram, spec)
        better = changes(part - found * steps, gram) < changes(part - held * steps, gram)
        held[better] = found[better].to(held.dtype)
    return QuantizedWeight(codes.reshape(w.shape), nearest.scales, spec)


def _learned(rows: torch.Tensor, steps: torch.Tensor, gram: torch.Tensor, spec: WeightSpec) -> torch.Tensor:
    """Codes ``[n, K]`` of weights ``[n, K]``, a step of which is worth ``steps`` ``[n, K]``."""
    import torch

    qmin, qmax = code_limits(spec.bits)
    below = (rows / steps).floor_().clamp_(qmin, qmax - 1)
    wanted = torch.addcmul(rows, below, steps, value=-1)  # beyond the code below
    h = (wanted / steps).clamp_(0, 1)
    v = torch.logit((h - GAMMA) / (ZETA - GAMMA))
    first, second = torch.zeros_like(v), torch.zeros_like(v)
    mean = float(gram.diagonal().mean()) or 1.0
    for step in range(spec.iterations):
        beta = FIRST_BETA + (LAST_BETA - FIRST_BETA) * step / max(1, spec.iterations - 1)
        sigmoid = torch.sigmoid(v)
        torch.mul(sigmoid, ZETA - GAMMA, out=h).add_(GAMMA).clamp_(0, 1)
        # By h, over scale^2 and the mean second moment, which are factors of a weight and so nothing to Adam.
        slope = (torch.addcmul(-wanted, h, steps) @ gram).div_(steps).mul_(2 / mean)
        away = h.mul_(2).sub_(1)
        slope.addcmul_(away.abs().pow_(beta - 1), away.sign(), value=-2 * LAMBDA * beta)
        slope.mul_(sigmoid.mul_(1 - sigmoid))
        # Adam, of which torch's own would bring its compiler with it.
        first.lerp_(slope, 1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(slope, slope, value=1 - BETAS[1])
        length = LEARNING_RATE * (1 - BETAS[1] ** (step + 1)) ** 0.5 / (1 - BETAS[0] ** (step + 1))
        v.addcdiv_(first, second.sqrt().add_(EPSILON), value=-length)
    return below + _swept(v > 0, wanted, steps, gram)


def _swept(up: torch.Tensor, wanted: torch.Tensor, steps: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    """Which weights ``[n, K]`` are rounded up, after each, from the first input to the last, has had its better code."""
    import torch

    # Inputs first, so that those of one are neighbours. Changing d_j by c adds 2 c (gram d)_j + c^2 gram_jj.
    pull = ((up * steps - wanted) @ gram).T.contiguous()
    up, steps = up.T.contiguous(), steps.T.contiguous()
    for j in range(len(gram)):
        change = torch.where(up[j], -steps[j], steps[j])
        gains = change * (2 * pull[j] + change * gram[j, j]) < 0
        up[j] ^= gains
        pull[j + 1 :].addr_(gram[j, j + 1 :], change.mul_(gains))
    return up.T
