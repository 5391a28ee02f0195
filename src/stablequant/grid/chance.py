"""How far a second sample of the same kind would be from calibration: a bootstrap of its recordings.

Values within a recording belong together, so recordings are drawn, not values; and each counts alike, or a few long ones would
decide. Each draw makes two samples of the
calibration recordings, one as large as calibration and one as large as the speech that is judged, and compares them as
calibration and that speech are compared (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 16). Of each
statistic the largest over all layers is kept, so that a limit holds for all layers together (Westfall and Young 1993).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stablequant.grid import shift
from stablequant.grid.histogram import JOINED_EDGES, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

#: What is compared of an activation, in the order of the columns here.
STATISTICS = ("beyond", "wasserstein", "psi")
DRAWS = 2_000
#: Spread that each statistic is given at least: of many recordings the least change is beyond chance, and a change of a twentieth
#: of the mean magnitude, an index of 0.02 or a thousandth of the values matters to nobody (four of these; bench/drift.py). Where
#: few recordings hold an outlier, draws of them spread less than new recordings do.
LEAST_SPREAD = np.array((2e-4, 0.0125, 0.005))
#: By how much limits are wider than the bootstrap's: it knows no recording of a kind that calibration does not hold, and without
#: this one sample in twenty of the same kind was told where the rate was one in a hundred (bench/drift.py).
WIDER = 1.3
#: Mass of each recording's values together: a recording counts as every other, however long it is, and sums are of integers.
MASS = 1 << 30
#: Divisor of what would be divided by 0.
SMALLEST = 1e-30


#: Values between these are not clipped by an activation's static grid; ``None``: it has none.
Ends = tuple[float, float] | None


@dataclass(frozen=True)
class Single:
    """One activation in one recording, whose values have a mass of `MASS` together (0 where there is none).

    Attributes:
        mass: Of each joined bin, empty ones too ``[bins]``.
        outside: Mass of the values that the static grid clips.
        largest: Magnitude.
    """

    mass: NDArray[np.uint32]
    outside: int
    largest: float

    @classmethod
    def of(cls, histogram: Histogram, ends: Ends) -> Single:
        """From the histogram of a recording."""
        counts, total = histogram.joined(), histogram.count
        if not total:
            return cls(counts.astype(np.uint32), 0, 0.0)
        outside = 0.0 if ends is None else histogram.outside(*ends)
        mass = np.rint(counts * (MASS / total)).astype(np.uint32)
        return cls(mass, round(outside * (MASS / total)), max(-histogram.minimum, histogram.maximum))


@dataclass(frozen=True)
class Activation:
    """Calibration of one activation, recording by recording.

    Attributes:
        bins: Joined bins that are not empty in all recordings ``[n]``.
        mass: Of those, by recording ``[recordings, n]``; see `Single`.
        outside: Mass of the values that the static grid clips ``[recordings]``.
        largest: Magnitude in each recording ``[recordings]``.
        ends: Of the static grid.
    """

    bins: NDArray[np.int64]
    mass: NDArray[np.uint32]
    outside: NDArray[np.uint32]
    largest: NDArray[np.float32]
    ends: Ends

    @classmethod
    def of(cls, recordings: Sequence[Single], ends: Ends) -> Activation:
        """From all recordings of calibration."""
        mass = np.stack([r.mass for r in recordings])
        bins = np.flatnonzero(mass.any(0))
        outside = np.array([r.outside for r in recordings], np.uint32)
        return cls(bins, mass[:, bins], outside, np.array([r.largest for r in recordings], np.float32), ends)

    @property
    def whole(self) -> NDArray[np.int64]:
        """Mass of all joined bins in all recordings together."""
        whole = np.zeros(len(JOINED_EDGES) - 1, np.int64)
        whole[self.bins] = self.mass.sum(0, dtype=np.int64)
        return whole


@dataclass(frozen=True)
class Limits:
    """What chance allows.

    Attributes:
        values: Largest value of each statistic by activation ``[activations, 3]``; NaN where it does not apply.
        ratio: Largest ratio of the divergences.
    """

    values: NDArray[np.float64]
    ratio: float


def draws_of(recordings: int, judged: int, draws: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How often each of ``recordings`` is in each draw ``[draws, recordings]``, as calibration and as speech to judge."""
    rng = np.random.default_rng(seed)
    even = np.full(recordings, 1 / recordings)
    both = (rng.multinomial(size, even, size=draws).astype(np.float32) for size in (recordings, judged))
    return next(both), next(both)


def statistics(activation: Activation, mass: NDArray[np.int64], outside: int) -> NDArray[np.float64]:
    """The statistics ``[3]`` of the speech that is judged against calibration; NaN where they do not apply.

    The Wasserstein distance is in mean magnitudes of calibration.

    Args:
        activation: Calibration.
        mass: Of all joined bins, in all recordings of the speech that is judged together.
        outside: Of the values there that the static grid clips.
    """
    if not mass.any() or not activation.mass.any():
        return np.full(len(STATISTICS), np.nan)
    share = np.nan if activation.ends is None else outside / mass.sum()
    whole = activation.whole
    bins = np.flatnonzero(mass + whole)
    return np.array([share, *_changes(whole[None, bins], mass[None, bins], bins, whole)[0]])


def same_kind(
    activation: Activation, calibration: NDArray[np.float32], judged: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The statistics ``[draws, 3]`` of draws from calibration, see `draws_of`; NaN where they do not apply."""
    if not activation.mass.any():
        return np.full((len(judged), len(STATISTICS)), np.nan)
    mass = activation.mass.astype(np.float32)
    first, second = calibration @ mass, judged @ mass
    changes = _changes(first, second, activation.bins, activation.whole)
    return np.column_stack((_outside(activation, calibration, judged, second), changes))


def _outside(
    activation: Activation, calibration: NDArray[np.float32], judged: NDArray[np.float32], mass: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Share of values beyond the grid in each draw ``[draws]``.

    A grid that clips nothing of its calibration reaches about as far as the largest value there. With another calibration it
    would have reached less or further, so its ends are moved with each draw's largest value.
    """
    if activation.ends is None:
        return np.full(len(judged), np.nan)
    if activation.outside.any():
        shares: NDArray[np.float64] = (judged @ activation.outside.astype(np.float32)) / np.maximum(mass.sum(-1), 1)
        return shares
    most = float(activation.largest.max())
    reach = np.where(calibration > 0, activation.largest, 0.0).max(1) / max(most, SMALLEST)
    low, high = (np.clip(JOINED_EDGES[activation.bins + i], -most, most) for i in (0, 1))
    return shift.beyond(mass, low, high, activation.ends[0] * reach, activation.ends[1] * reach)


def limits(
    activations: Iterable[Activation],
    nats: NDArray[np.float64],
    steps: NDArray[np.float64],
    judged: int,
    false_alarms: float,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Limits:
    """What a sample of the same kind stays below, in all activations and statistics together, but for ``false_alarms``.

    A quarter of that rate is given to each of the four: the three statistics, and the ratio of divergences (Bonferroni). A
    statistic's limit in an activation is its mean over the draws plus T of its standard deviations there; T is the quantile of
    the largest such excess over all activations, and no less than it would be for as many independent normal ones, `WIDER`.

    Args:
        activations: Calibration, recording by recording.
        nats: Divergence of int8 from float, summed over each of those recordings.
        steps: That it is summed over.
        judged: Recordings of the speech that is judged.
        false_alarms: Rate, above 0 and below 1.
        draws: Of the bootstrap.
        seed: Of the draws.
    """
    from scipy.special import ndtri

    first, second = draws_of(len(nats), judged, draws, seed)
    level = 1 - false_alarms / (len(STATISTICS) + 1)
    means, spreads, largest = [], [], np.full((draws, len(STATISTICS)), -np.inf)
    for activation in activations:
        found = same_kind(activation, first, second)
        mean, spread = found.mean(0), np.maximum(found.std(0), LEAST_SPREAD)
        largest = np.fmax(largest, (found - mean) / spread)
        means.append(mean)
        spreads.append(spread)
    excess = np.quantile(largest, level, axis=0, method="higher")
    normal = ndtri(1 - (1 - level) / len(means))
    ratios = (second @ nats / (second @ steps)) / np.maximum(first @ nats / (first @ steps), SMALLEST)
    # An infinite excess is of a statistic that applies to no activation.
    values = np.array(means) + WIDER * np.where(np.isfinite(excess), np.maximum(excess, normal), np.nan) * np.array(
        spreads
    )
    return Limits(values, float(np.quantile(ratios, level, method="higher")) ** WIDER)


def _changes(
    calibration: NDArray[Any], judged: NDArray[Any], bins: NDArray[np.int64], whole: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Wasserstein distance and stability index ``[samples, 2]`` of pairs of samples, from masses of ``bins`` ``[samples, n]``."""
    centres = (JOINED_EDGES[bins] + JOINED_EDGES[bins + 1]) / 2
    reference = whole[bins] / whole.sum()
    unit = max(float(np.abs(centres) @ reference), SMALLEST)
    p, q = _shares(judged), _shares(calibration)
    distances = shift.wasserstein(p, q, centres) / unit
    return np.stack((distances, shift.stability_index(p, q, shift.groups(reference))), axis=-1)


def _shares(counts: NDArray[Any]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(-1, keepdims=True), 1)
    return shares
