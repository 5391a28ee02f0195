"""Where tokens were heard: made paths with the right frames."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from stablequant.heads.alignment import between, spikes, warped


def test_spikes_of_a_path() -> None:
    ids = np.array([0, 0, 5, 5, 0, 5, 7, 7, 0])
    first, last = spikes(ids, 0)
    assert first.tolist() == [2, 5, 6]
    assert last.tolist() == [3, 5, 7]
    # Halfway between frame 3 and 5 is the middle of frame 4; 5 and 6 touch.
    assert between(first, last, 9).tolist() == pytest.approx([0, 4.5 / 9, 6 / 9, 1])


def test_warping_finds_the_best_monotone_path() -> None:
    rng = np.random.default_rng(0)
    attention = rng.random((3, 7))
    gain = (attention - attention.mean(0)) / attention.std(0)

    def total(cuts: tuple[int, ...]) -> float:
        ends = (0, *cuts, 7)
        return float(sum(gain[i, a:b].sum() for i, (a, b) in enumerate(itertools.pairwise(ends))))

    best = max(itertools.combinations(range(1, 7), 2), key=total)
    first, last = warped(attention)
    assert first.tolist() == [0, *best]
    assert last.tolist() == [*(b - 1 for b in best), 6]


def test_a_diagonal_is_followed_and_more_tokens_than_frames_share_them() -> None:
    first, last = warped(np.kron(np.eye(4), np.ones((1, 3))))
    assert first.tolist() == [0, 3, 6, 9]
    assert last.tolist() == [2, 5, 8, 11]
    first, last = warped(np.kron(np.eye(2), np.ones((2, 1))))
    assert first.tolist() == [0, 0, 1, 1]
    assert last.tolist() == [0, 0, 1, 1]
    assert (np.diff(between(first, last, 2)) >= 0).all()
