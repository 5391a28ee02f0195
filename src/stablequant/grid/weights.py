"""Scales of weights, which need no histogram: symmetric, one a tensor or one an output channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablequant.errors import ModelError, SettingsError
from stablequant.grid.affine import SMALLEST_SCALE, ZERO_RANGE_SCALE, code_limits
from stablequant.grid.calibrators.mse import mse_range
from stablequant.grid.histogram import Histogram

if TYPE_CHECKING:
    import torch

GRANULARITIES = ("channel", "tensor")
METHODS = ("max", "mse")

# Shrink factors of amax: the least worth trying (3 bits want about a half), the spacing of the first pass
# and, around its best, of the second.
_LEAST, _COARSE, _FINE = 0.2, 0.05, 0.01
# Weights of so many elements are tried at a time, to stay in the cache over all factors.
_BLOCK = 1 << 17


def weight_scales(w: torch.Tensor, *, bits: int = 8, granularity: str = "channel", method: str = "max") -> torch.Tensor:
    """Return the scales of a weight tensor.

    Args:
        w: Weights [out, ...].
        bits: Width of a code.
        granularity: "channel" for a scale an output channel, "tensor" for one in all.
        method: "max" covers the largest magnitude; "mse" takes the amax with the least squared error: for a
            tensor as `mse_range`, for channels among 1.00, 0.99, ... of the largest magnitude down to a
            fifth.

    Returns:
        Scales [out] or [1], float32, on the device of ``w``. An all-zero channel gets `ZERO_RANGE_SCALE`.

    Raises:
        SettingsError: ``granularity`` or ``method`` is unknown.
        ModelError: The weights are not finite.
    """
    import torch

    for option, value, known in (("granularity", granularity, GRANULARITIES), ("method", method, METHODS)):
        if value not in known:
            what = f"{option}={value!r} is unknown"
            raise SettingsError(what, expected=" or ".join(known))
    qmax = code_limits(bits)[1]
    rows = w.detach().float().reshape(w.shape[0] if granularity == "channel" else 1, -1)
    amax = torch.linalg.vector_norm(rows, ord=float("inf"), dim=1)
    if not bool(amax.isfinite().all()):
        what = "the weights hold NaN or infinite values"
        raise ModelError(what, expected="finite weights", fix="check the checkpoint")
    scales = (amax / qmax).clamp_(min=SMALLEST_SCALE)
    if method == "mse" and granularity == "tensor":
        histogram = Histogram("weight")
        histogram.update(w)
        scales = torch.full_like(scales, max(mse_range(histogram, bits=bits).amax / qmax, SMALLEST_SCALE))
    elif method == "mse":
        step = max(1, _BLOCK // max(rows.shape[1], 1))
        parts = zip(torch.split(rows, step), torch.split(scales, step), strict=True)
        scales = torch.cat([_least_error(part, scale, bits) for part, scale in parts])
    return torch.where(amax == 0, ZERO_RANGE_SCALE, scales)


def quantize_weight(w: torch.Tensor, scales: torch.Tensor, *, bits: int = 8) -> torch.Tensor:
    """Return the codes of weights [out, ...] as int8 (int16 above 8 bits), in their shape."""
    import torch

    qmin, qmax = code_limits(bits)
    codes = (w.detach().float() / _aligned(scales, w)).round_().clamp_(qmin, qmax)
    return codes.to(torch.int8 if bits <= 8 else torch.int16)


def fake_quantize_weight(w: torch.Tensor, scales: torch.Tensor, *, bits: int = 8) -> torch.Tensor:
    """Return weights [out, ...] moved onto their grid, float32: ``scales * quantize_weight(w)``."""
    return quantize_weight(w, scales, bits=bits).float() * _aligned(scales, w)


def _aligned(scales: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return scales.reshape(-1, *(1,) * (w.dim() - 1))


def _least_error(rows: torch.Tensor, scales: torch.Tensor, bits: int) -> torch.Tensor:
    """Return the scale of each row [n, m] with the least squared error, found in two passes."""
    import torch

    qmin, qmax = code_limits(bits)

    def error(factor: torch.Tensor) -> torch.Tensor:
        step = (scales * factor)[:, None]
        return (rows / step).round_().clamp_(qmin, qmax).mul_(step).sub_(rows).square_().sum(dim=1)

    best = torch.ones_like(scales)
    least = error(best)

    def keep_best(factor: torch.Tensor) -> None:
        found = error(factor)
        # Strictly: of equal factors the larger, which is tried first, stays.
        better = (found < least) & (factor <= 1)
        best[better], least[better] = factor[better], found[better]

    for i in range(1, round((1 - _LEAST) / _COARSE) + 1):
        keep_best(torch.full_like(scales, 1 - i * _COARSE))
    centre, spread = best.clone(), round(_COARSE / _FINE)
    for i in range(spread - 1, -spread, -1):
        if i:
            keep_best(centre + i * _FINE)
    return scales * best
