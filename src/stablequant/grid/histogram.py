"""A streaming, mergeable, signed histogram whose memory does not depend on the data.

A float32's own bit pattern names its bin: the sign, the exponent and the top 8 bits of the mantissa. The bins
are therefore known before any data are seen; merging is exact integer addition, in any order; and resolution
is the same everywhere in relative terms. A bin is at most 2^-8 (0.4 %) as wide as the values in it, and an
int8 step of a grid that ends there 2^-7, so the last 0.01 % of the mass, which decides the scale, is seen at
half a step or finer.

Magnitudes below 2^-24 share one bin a sign; those from 2^24 up share another. Exact ends are kept beside the
counts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stablequant.errors import DataError, ModelError, SettingsError
from stablequant.grid import shift

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MANTISSA_BITS = 8
MIN_EXPONENT, MAX_EXPONENT = -24, 24
_SHIFT = 23 - MANTISSA_BITS
_FIRST = (127 + MIN_EXPONENT) << MANTISSA_BITS
_INNER = (MAX_EXPONENT - MIN_EXPONENT) << MANTISSA_BITS
# One sign's bins: the one next to zero, the inner ones, and the one without an end.
_SIDE = _INNER + 2
_EDGES = np.concatenate(
    ([0.0], (np.arange(_FIRST, _FIRST + _INNER + 1, dtype=np.int32) << _SHIFT).view(np.float32), [np.inf])
)
# Bins that are joined where whole distributions are compared: eight are left an octave, an eighth as wide as their values.
_JOIN = 1 << (MANTISSA_BITS - 3)
# One sign's; the last has no end, and is taken to be an octave wide.
_JOINED = np.concatenate(([0.0], _EDGES[1:-1:_JOIN], [2.0 * _EDGES[-2]]))
#: Ends of the joined bins, ascending [n + 1].
JOINED_EDGES = np.concatenate((-_JOINED[:0:-1], _JOINED))
# 1 MiB of float32 at a time: the temporaries stay in the cache, and are bounded whatever the tensor's size.
_CHUNK = 1 << 18


class Bins(NamedTuple):
    """Non-empty bins by ascending value: ``counts[i]`` values lie in ``[low[i], high[i]]``; arrays [n]."""

    low: Array
    high: Array
    counts: Array

    def percentile(self, q: float) -> float:
        """Return the value that ``q`` percent of the mass does not exceed, uniform in a bin.

        Raises:
            SettingsError: ``q`` is not in 0..100.
        """
        if not 0.0 <= q <= 100.0:
            what = f"percentile {q} does not exist"
            raise SettingsError(what, expected="a number in 0..100")
        below = np.cumsum(self.counts)
        mass = below[-1] * (q / 100.0)
        i = min(int(np.searchsorted(below, mass)), len(below) - 1)
        share = 1.0 - (below[i] - mass) / self.counts[i]
        # Not low + share * width: at share 1 that could miss the exact end by a rounding.
        return float(self.low[i] * (1.0 - share) + self.high[i] * share)


class Histogram:
    """Counts of the values of one tensor, collected over any number of updates.

    Attributes:
        name: What is observed, for error messages.
        minimum: The exact smallest value so far; +inf while empty.
        maximum: The exact largest value so far; -inf while empty.
    """

    def __init__(self, name: str = "activation") -> None:
        """Start empty."""
        self.name = name
        self.minimum = math.inf
        self.maximum = -math.inf
        self._counts = np.zeros((2, _SIDE), np.int64)  # [sign, magnitude]; row 1 holds the negative values

    @property
    def count(self) -> int:
        """The number of values seen."""
        return int(self._counts.sum())

    @property
    def nbytes(self) -> int:
        """Bytes held, the same at all times."""
        return self._counts.nbytes

    def update(self, x: torch.Tensor) -> None:
        """Add every value of a tensor of any shape, layout, device and real dtype.

        Temporaries are bounded for a tensor that fills its memory, in whatever order of dimensions; one with
        gaps (a slice) is copied once.

        Raises:
            ModelError: The tensor holds NaN or infinity. The histogram is then unchanged.
        """
        import torch

        if x.numel() == 0:
            return
        # Order does not matter to a histogram, so a transposed tensor is read in the order it lies in memory.
        x = x.detach().permute(sorted(range(x.dim()), key=x.stride, reverse=True)).reshape(-1)
        low, high = torch.stack(torch.aminmax(x)).float().tolist()
        if not (math.isfinite(low) and math.isfinite(high)):
            what = f"{self.name} holds NaN or infinite values"
            raise ModelError(what, expected="finite activations", fix="check the checkpoint and its inputs")
        for chunk in torch.split(x, _CHUNK):
            bits = chunk.float().view(torch.int32)
            code = (bits & 0x7FFFFFFF).bitwise_right_shift_(_SHIFT).sub_(_FIRST - 1).clamp_(0, _SIDE - 1)
            code.add_(bits >> 31, alpha=-_SIDE)  # the arithmetic shift gives -1 for a negative value, else 0
            self._counts += torch.bincount(code, minlength=2 * _SIDE).cpu().numpy().reshape(2, _SIDE)
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)

    def merge(self, other: Histogram) -> None:
        """Add all that ``other`` has seen; the result is exactly that of one pass over both."""
        self._counts += other._counts
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)

    def nonempty(self) -> Bins:
        """Return the non-empty bins by value, the outermost cut at the exact ends.

        Raises:
            DataError: The histogram is empty.
        """
        self.require_data()
        positive, negative = np.flatnonzero(self._counts[0]), np.flatnonzero(self._counts[1])[::-1]
        low = np.concatenate((-_EDGES[negative + 1], _EDGES[positive]))
        high = np.concatenate((-_EDGES[negative], _EDGES[positive + 1]))
        counts = np.concatenate((self._counts[1, negative], self._counts[0, positive]))
        return _cut(low, high, counts, self.minimum, self.maximum)

    def absolute(self) -> Bins:
        """Return the non-empty bins of the magnitudes, ascending, the outermost cut at the exact ends.

        Raises:
            DataError: The histogram is empty.
        """
        self.require_data()
        counts = self._counts.sum(axis=0)
        used = np.flatnonzero(counts)
        smallest = max(self.minimum, -self.maximum, 0.0)
        return _cut(_EDGES[used], _EDGES[used + 1], counts[used], smallest, max(-self.minimum, self.maximum))

    def joined(self) -> NDArray[np.int64]:
        """Counts of the bins between `JOINED_EDGES`, ascending, the empty ones too [n]."""
        inner = self._counts[:, 1:-1].reshape(2, -1, _JOIN).sum(axis=2)
        positive, negative = np.concatenate((self._counts[:, :1], inner, self._counts[:, -1:]), axis=1)
        return np.concatenate((negative[::-1], positive))

    def outside(self, low: float, high: float) -> float:
        """How many values lie below ``low`` or above ``high``, uniform in a bin."""
        if not self.count:
            return 0.0
        bins = self.nonempty()
        return shift.beyond(bins.counts, bins.low, bins.high, low, high).item() * self.count

    def percentile(self, q: float) -> float:
        """Return the value that ``q`` percent (0..100) of the values do not exceed; exact at 0 and 100."""
        return self.nonempty().percentile(q)

    def percentile_abs(self, q: float) -> float:
        """Return the magnitude that ``q`` percent (0..100) of the magnitudes do not exceed; exact at 100."""
        return self.absolute().percentile(q)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as ``index`` [n] and ``counts`` [n] of the non-empty bins and ``ends`` [2]."""
        counts = self._counts.reshape(-1)
        index = np.flatnonzero(counts)
        return {
            "index": index.astype(np.int32),
            "counts": counts[index],
            "ends": np.array([self.minimum, self.maximum]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], name: str = "activation") -> Histogram:
        """Rebuild a histogram from `to_arrays`.

        Raises:
            DataError: The arrays are not those of a histogram.
        """
        histogram = cls(name)
        try:
            histogram._counts.reshape(-1)[arrays["index"]] = arrays["counts"]
            histogram.minimum, histogram.maximum = (float(end) for end in arrays["ends"])
        except (KeyError, IndexError, ValueError, TypeError) as error:
            what = f"the stored histogram of {name} is damaged: {error}"
            raise DataError(what, fix="observe the activations again") from error
        return histogram

    def require_data(self) -> None:
        """Raise DataError if nothing has been seen."""
        if self.minimum > self.maximum:
            what = f"the histogram of {self.name} is empty"
            fix = "check that this layer runs, and that the calibration speech reaches it"
            raise DataError(what, expected="at least one value", fix=fix)


def _cut(low: Array, high: Array, counts: NDArray[np.int64], smallest: float, largest: float) -> Bins:
    return Bins(np.maximum(low, smallest), np.minimum(high, largest), counts.astype(np.float64))
