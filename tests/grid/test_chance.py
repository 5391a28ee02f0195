"""The limits of `stablequant drift`: silent on more of the same, at the rate told, and not on a shift made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stablequant.grid import chance
from stablequant.grid.chance import MASS, Activation, Limits, Single
from stablequant.grid.histogram import Histogram

RECORDINGS = 32


def recordings(rng: np.random.Generator, count: int, *, gain: float = 1.0, move: float = 0.0) -> list[list[Histogram]]:
    """Two activations of each recording, whose loudness differs: a normal and a heavy-tailed one."""
    found = []
    for _ in range(count):
        loudness = gain * np.exp(0.3 * rng.standard_normal())
        values = (rng.standard_normal(400), 0.1 * rng.standard_t(4, 400))
        row = []
        for x in values:
            row.append(Histogram("layer"))
            row[-1].update(torch.tensor(move + loudness * x, dtype=torch.float32))
        found.append(row)
    return found


def activation(column: Sequence[Histogram], ends: tuple[float, float] | None) -> Activation:
    return Activation.of([Single.of(h, ends) for h in column], ends)


def calibration(rng: np.random.Generator) -> list[Activation]:
    """One grid reaches as far as its calibration, one clips a part of it."""
    first, second = zip(*recordings(rng, RECORDINGS), strict=True)
    most = max(max(-h.minimum, h.maximum) for h in first)
    return [activation(first, (-most, most)), activation(second, (-0.6, 0.6))]


def beyond(kept: list[Activation], limits: Limits, judged: list[list[Histogram]]) -> NDArray[np.bool_]:
    """Which statistics ``[activations, 3]`` are beyond their limits."""
    found = []
    for a, column in zip(kept, zip(*judged, strict=True), strict=True):
        singles = [Single.of(h, a.ends) for h in column]
        mass = np.sum([s.mass for s in singles], 0, dtype=np.int64)
        found.append(chance.statistics(a, mass, sum(s.outside for s in singles)))
    return np.array(found) > limits.values


def limits_of(kept: list[Activation], judged: int, rate: float, draws: int) -> Limits:
    steps = np.full(RECORDINGS, 10.0)
    return chance.limits(kept, steps * 0.01, steps, judged, rate, draws=draws)


def test_more_of_the_same_is_told_at_the_rate_and_a_shift_always() -> None:
    rng = np.random.default_rng(0)
    rate, judged, told = 0.2, 12, []
    for _ in range(12):
        kept = calibration(rng)
        limits = limits_of(kept, judged, rate, 200)
        told += [beyond(kept, limits, recordings(rng, judged)).any() for _ in range(10)]
    # 120 samples, ten with each calibration; the fourth of the rate that is the divergence's is not used here.
    assert 0.03 < np.mean(told) < 0.25

    kept = calibration(rng)
    limits = limits_of(kept, judged, 0.01, 1000)
    assert not beyond(kept, limits, recordings(rng, judged)).any()
    louder = beyond(kept, limits, recordings(rng, judged, gain=1.6))
    assert louder[:, chance.STATISTICS.index("wasserstein")].all()
    assert louder[1, chance.STATISTICS.index("beyond")]
    softer = beyond(kept, limits, recordings(rng, judged, gain=0.5))
    assert softer[:, 1:].all()
    assert not softer[:, 0].any()
    moved = beyond(kept, limits, recordings(rng, judged, move=0.5))
    assert moved[:, 1:].all()


def test_a_scale_a_frame_has_nothing_beyond_it_and_is_compared_all_the_same() -> None:
    rng = np.random.default_rng(1)
    kept = [replace(a, outside=0 * a.outside, ends=None) for a in calibration(rng)]
    limits = limits_of(kept, 24, 0.01, 500)
    assert np.isnan(limits.values[:, 0]).all()
    assert beyond(kept, limits, recordings(rng, 24, gain=3.0)).tolist() == [[False, True, True]] * 2


def test_the_divergence_has_a_limit_of_its_own() -> None:
    rng = np.random.default_rng(2)
    steps = rng.integers(5, 40, RECORDINGS).astype(float)
    nats = steps * 0.01 * rng.exponential(size=RECORDINGS)
    kept = calibration(rng)
    few, many = (chance.limits(kept, nats, steps, n, 0.01, draws=1000).ratio for n in (4, 400))
    assert 1.2 < many < few < 6
    with pytest.raises(ValueError, match=r"multinomial|pvals|n"):
        chance.draws_of(RECORDINGS, -1, 10, 0)


def test_a_recording_counts_as_every_other_however_long_it_is() -> None:
    short, long = Histogram(), Histogram()
    short.update(torch.tensor([1.0, 1.0, 3.0]))
    for _ in range(1000):
        long.update(torch.tensor([-0.5]))
    kept = activation([short, long], (-2.0, 2.0))
    assert kept.mass.sum(1).tolist() == pytest.approx([MASS, MASS], rel=1e-8)
    assert (kept.outside / MASS).tolist() == pytest.approx([1 / 3, 0.0])
    assert kept.whole[kept.bins].tolist() == pytest.approx([MASS, MASS * 2 / 3, MASS / 3])
    assert chance.statistics(kept, kept.whole, int(kept.outside.sum())) == pytest.approx([1 / 6, 0, 0])
