"""Permutation tests on made cases: what is there is found, what every utterance has in common is not."""

from __future__ import annotations

import numpy as np
import pytest

from stablequant.tasks.permutation import higher_where, uneven_over


def test_marked_values_that_are_higher_within_their_utterances_are_found() -> None:
    rng = np.random.default_rng(0)
    utterance = np.repeat(np.arange(30), 8)
    marked = rng.random(240) < 0.2
    values = rng.standard_normal(240) + 1.0 * marked
    assert higher_where(values, marked, utterance, shuffles=500).p < 0.01
    assert higher_where(-values, marked, utterance, shuffles=500).p > 0.9
    # Utterances that are marked and high as a whole prove nothing: within them there is nothing to compare.
    whole = utterance < 10
    assert higher_where(5.0 * whole + rng.standard_normal(240), whole, utterance, shuffles=200).p == pytest.approx(1.0)


def test_the_exact_case_has_the_exact_p() -> None:
    # One utterance of five words, one of them marked and the highest: one arrangement in five is as extreme.
    test = higher_where(np.array([3.0, 1, 1, 1, 1]), np.array([True, *[False] * 4]), np.zeros(5, int), shuffles=5000)
    assert test.statistic == pytest.approx(3 - 7 / 5)
    assert test.p == pytest.approx(0.2, abs=0.02)


def test_p_is_uniform_where_there_is_nothing() -> None:
    rng = np.random.default_rng(1)
    utterance = np.repeat(np.arange(10), 6)
    found = [
        (
            higher_where(rng.standard_normal(60), rng.random(60) < 0.3, utterance, shuffles=99).p,
            uneven_over(rng.standard_normal(60), rng.integers(0, 5, 60), utterance, shuffles=99).p,
        )
        for _ in range(100)
    ]
    for column in zip(*found, strict=True):
        assert 0.02 <= np.mean(np.array(column) <= 0.1) <= 0.2
        assert np.mean(column) == pytest.approx(0.5, abs=0.1)


def test_a_token_that_is_clipped_more_makes_clipping_uneven() -> None:
    rng = np.random.default_rng(2)
    utterance, kind = np.repeat(np.arange(20), 10), rng.integers(0, 6, 200)
    values = rng.random(200) + 0.5 * (kind == 3)
    assert uneven_over(values, kind, utterance, shuffles=500).p < 0.01
