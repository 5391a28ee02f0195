"""Integer weights: symmetric grids, a scale a tensor, an output channel, or a group of inputs of one.

Scales need no histogram. How a weight is to be quantised is a `WeightSpec`; what comes out is a `QuantizedWeight`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stablequant.errors import ModelError, SettingsError
from stablequant.grid.affine import SMALLEST_SCALE, ZERO_RANGE_SCALE, code_limits
from stablequant.grid.calibrators.mse import mse_range
from stablequant.grid.histogram import Histogram

if TYPE_CHECKING:
    import torch

#: Steps of AdaRound: twice as many take about a seventh off the error of a layer (of Moonshine tiny; grid/adaround.py).
ITERATIONS = 50
# Shrink factors of amax: the least worth trying (3 bits want about a half), the spacing of the first pass
# and, around its best, of the second.
_LEAST, _COARSE, _FINE = 0.2, 0.05, 0.01
# Weights of so many elements are tried at a time, to stay in the cache over all factors.
_BLOCK = 1 << 17


@dataclass(frozen=True)
class PerTensor:
    """One scale for all weights of a layer."""


@dataclass(frozen=True)
class PerChannel:
    """One scale an output channel."""


@dataclass(frozen=True)
class PerGroup:
    """One scale for every ``size`` inputs of an output channel, in the order in which they lie; the last group may be smaller.

    Raises:
        SettingsError: ``size`` is below 1.
    """

    size: int

    def __post_init__(self) -> None:
        """Hold that there is something in a group."""
        if self.size < 1:
            what = f"groups of {self.size} weights"
            raise SettingsError(what, expected="at least 1 weight in a group")


Granularity = PerTensor | PerChannel | PerGroup


@dataclass(frozen=True)
class WeightSpec:
    """How the weights of a layer become integers.

    Attributes:
        bits: Width of a code, 2 to 16.
        per: What has a scale of its own.
        range: "max" covers the largest magnitude; "mse" takes the amax with the least squared error: for a tensor as
            `mse_range`, else among 1.00, 0.99, ... of the largest magnitude down to a fifth.
        rounding: "nearest": to the nearest code, ties to even; "gptq", "adaround": so that the layer's output on calibration
            speech changes little (grid/gptq.py, grid/adaround.py).
        correct_bias: Whether the mean error that rounding leaves in an output channel on calibration speech is taken off its
            bias.
        iterations: Steps of "adaround".

    Raises:
        SettingsError: ``bits``, ``range`` or ``rounding`` is unknown, or ``iterations`` below 1.
    """

    bits: int = 8
    per: Granularity = PerChannel()
    range: Literal["max", "mse"] = "max"
    rounding: Literal["nearest", "gptq", "adaround"] = "nearest"
    correct_bias: bool = False
    iterations: int = ITERATIONS

    def __post_init__(self) -> None:
        """Check each choice."""
        code_limits(self.bits)
        if self.iterations < 1:
            what = f"{self.iterations} steps of rounding"
            raise SettingsError(what, expected="at least 1")
        for name, value, known in (
            ("range", self.range, ("max", "mse")),
            ("rounding", self.rounding, ("nearest", "gptq", "adaround")),
        ):
            if value not in known:
                what = f"{name}={value!r} of weights is unknown"
                raise SettingsError(what, expected=" or ".join(known))

    @property
    def from_speech(self) -> bool:
        """Whether what comes out depends on calibration speech, and not on the weights alone."""
        return self.rounding != "nearest" or self.correct_bias


@dataclass(frozen=True)
class QuantizedWeight:
    """Codes of a weight and what a step of each is worth.

    Attributes:
        codes: ``[out, ...]`` as the weight; int8, above 8 bits int16.
        scales: float32: ``[1]`` for a tensor, ``[out]`` for channels, ``[out, groups]`` for groups.
        spec: How it was made.
        correction: Float32 ``[out]``, added to the bias; ``None`` where the bias stays as it is.
    """

    codes: torch.Tensor
    scales: torch.Tensor
    spec: WeightSpec
    correction: torch.Tensor | None = None

    def dequantized(self) -> torch.Tensor:
        """The weights that the codes stand for, float32, in their shape."""
        rows = self.codes.reshape(len(self.codes), -1).float()
        return (rows * stretched(self.scales, rows.shape, self.spec)).reshape(self.codes.shape)


def quantize_weight(w: torch.Tensor, spec: WeightSpec, scales: torch.Tensor | None = None) -> QuantizedWeight:
    """Return weights ``[out, ...]`` as integers, each as the nearest code; ``scales`` are by default those of `weight_scales`.

    Raises:
        ModelError: The weights are not finite.
        SettingsError: ``spec`` needs calibration speech (see `grid.moments.fit_weight`).
    """
    import torch

    if spec.from_speech:
        what = "weights are to be rounded for calibration speech, and none is at hand"
        raise SettingsError(
            what, expected="rounding=nearest and correct_bias=false, or the moments of a layer's inputs"
        )
    scales = weight_scales(w, spec) if scales is None else scales
    rows = w.detach().float().reshape(len(w), -1)
    qmin, qmax = code_limits(spec.bits)
    codes = (rows / stretched(scales, rows.shape, spec)).round_().clamp_(qmin, qmax)
    return QuantizedWeight(codes.to(torch.int8 if spec.bits <= 8 else torch.int16).reshape(w.shape), scales, spec)


def weight_scales(w: torch.Tensor, spec: WeightSpec) -> torch.Tensor:
    """Return the scales of weights ``[out, ...]``, in the shape that `QuantizedWeight` says, on the device of ``w``.

    Where there is nothing but zero the scale is `ZERO_RANGE_SCALE`.

    Raises:
        ModelError: The weights are not finite.
    """
    import torch

    rows = _rows(w.detach().float(), spec)
    qmax = code_limits(spec.bits)[1]
    amax = torch.linalg.vector_norm(rows, ord=float("inf"), dim=1)
    if not bool(amax.isfinite().all()):
        what = "the weights hold NaN or infinite values"
        raise ModelError(what, expected="finite weights", fix="check the checkpoint")
    scales = (amax / qmax).clamp_(min=SMALLEST_SCALE)
    if spec.range == "mse" and isinstance(spec.per, PerTensor):
        histogram = Histogram("weight")
        histogram.update(w)
        scales = torch.full_like(scales, max(mse_range(histogram, bits=spec.bits).amax / qmax, SMALLEST_SCALE))
    elif spec.range == "mse":
        step = max(1, _BLOCK // max(rows.shape[1], 1))
        parts = zip(torch.split(rows, step), torch.split(scales, step), strict=True)
        scales = torch.cat([_least_error(part, scale, spec.bits) for part, scale in parts])
    scales = torch.where(amax == 0, ZERO_RANGE_SCALE, scales)
    return scales.reshape(len(w), -1) if isinstance(spec.per, PerGroup) else scales


def _rows(w: torch.Tensor, spec: WeightSpec) -> torch.Tensor:
    """The weights with one row a scale; a last group that is short is filled up with zeros, which change no scale."""
    from torch.nn.functional import pad

    match spec.per:
        case PerTensor():
            return w.reshape(1, -1)
        case PerChannel():
            return w.reshape(len(w), -1)
        case PerGroup(size):
            rows = w.reshape(len(w), -1)
            return pad(rows, (0, -rows.shape[1] % size)).reshape(-1, size)


def stretched(scales: torch.Tensor, shape: torch.Size, spec: WeightSpec) -> torch.Tensor:
    """Scales of `QuantizedWeight` in a shape that divides its rows ``[out, in]``."""
    if isinstance(spec.per, PerGroup):
        return scales.repeat_interleave(spec.per.size, 1)[:, : shape[1]]
    return scales.reshape(-1, 1)


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
