"""The limits of `stablequant drift`: silent on more of the same, at the rate told, and not on a shift made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stablequant.grid import chance
from stablequant.grid.chance import Activation, Limits
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


def activation(column: list[Histogram], ends: tuple[float, float] | None) -> Activation:
    counts = np.stack([h.joined() for h in column])
    bins = np.flatnonzero(counts.sum(0))
    largest = np.array([max(-h.minimum, h.maximum) for h in column], np.float32)
    outside = np.array([h.outside(*ends) if ends else 0.0 for h in column], np.float32)
    return Activation(bins, counts[:, bins].astype(np.uint32), largest, outside, ends)


def calibration(rng: np.random.Generator) -> list[Activation]:
    """One grid reaches as far as its calibration, one clips a part of it."""
    first, second = zip(*recordings(rng, RECORDINGS), strict=True)
    most = max(max(-h.minimum, h.maximum) for h in first)
    return [activation(list(first), (-most, most)), activation(list(second), (-0.6, 0.6))]


def beyond(kept: list[Activation], limits: Limits, judged: list[list[Histogram]]) -> NDArray[np.bool_]:
    """Which statistics ``[activations, 3]`` are beyond their limits."""
    found = []
    for a, column in zip(kept, zip(*judged, strict=True), strict=True):
        outside = sum(h.outside(*a.ends) for h in column) if a.ends else 0.0
        found.append(chance.statistics(a, np.sum([h.joined() for h in column], 0), outside))
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
    kept = [Activation(a.bins, a.counts, a.largest, 0 * a.outside, None) for a in calibration(rng)]
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
