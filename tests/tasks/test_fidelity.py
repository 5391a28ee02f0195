"""Divergence: against its formula, exactly zero for equal logits, the same for shifted ones, and never hidden by NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablequant.tasks.fidelity import Divergence, divergence, divergence_score, figures, standard_error

STEPS, VOCABULARY = 7, 11


def logits(seed: int, scale: float = 3.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, (STEPS, VOCABULARY)).astype(np.float32)


def softmax(row: np.ndarray) -> list[float]:
    powers = [math.exp(float(x)) for x in row]
    return [power / sum(powers) for power in powers]


def by_hand(reference: np.ndarray, found: np.ndarray) -> float:
    """Sum over steps of p log(p / q), one entry of the vocabulary at a time."""
    total = 0.0
    for a, b in zip(reference, found, strict=True):
        total += sum(p * math.log(p / q) for p, q in zip(softmax(a), softmax(b), strict=True))
    return total


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_sum_of_p_log_p_over_q(seed: int) -> None:
    reference, found = logits(seed), logits(seed + 100)
    assert divergence(reference, found).nats == pytest.approx(by_hand(reference, found), rel=1e-12)
    assert divergence(reference, found).steps == STEPS


def test_a_value_worked_out_on_paper() -> None:
    # p = (3/4, 1/4), q = (1/2, 1/2).
    found = divergence(np.log([[3.0, 1.0]]), np.zeros((1, 2)))
    assert found.nats == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


@given(st.integers(0, 2**31), st.floats(-1e4, 1e4))
def test_equal_logits_do_not_diverge_and_a_shift_of_a_step_changes_nothing(seed: int, shift: float) -> None:
    reference, found = logits(seed).astype(np.float64), logits(seed + 1).astype(np.float64)
    assert divergence(reference, reference) == Divergence(0.0, STEPS)
    moved = found + shift * np.arange(STEPS)[:, None]
    assert divergence(reference, moved).nats == pytest.approx(divergence(reference, found).nats, rel=1e-6)


@given(st.integers(0, 2**31), st.floats(0, 1e-6))
def test_it_is_never_below_zero(seed: int, step: float) -> None:
    reference = logits(seed)
    assert divergence(reference, reference + step * logits(seed + 1)).nats >= 0


def test_logits_of_any_size_do_not_overflow() -> None:
    assert divergence(1e4 * logits(0), 1e4 * logits(1)).nats < float("inf")
    # Where the model is certain, the other must be too: 10 000 nats, not infinity.
    sure = np.array([[1e4, 0.0]], np.float32)
    assert divergence(sure, sure[:, ::-1]).nats == pytest.approx(1e4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_infinitely_far(value: float) -> None:
    found = logits(1)
    found[2, 3] = value
    with np.errstate(invalid="ignore"):
        assert divergence(logits(0), found).nats == float("inf")


def test_the_score_is_the_mean_over_all_steps_in_nats() -> None:
    score = divergence_score(["a", "b"], [Divergence(3.0, 10), Divergence(1.0, 30)])
    assert score.rate == pytest.approx(4.0 / 40)
    assert (score.metric, score.ids, score.errors, score.units) == ("KL", ("a", "b"), (3.0, 1.0), (10.0, 30.0))
    assert score.grain == 0  # there is no least change, so a race cannot tell who is fragile


def test_the_standard_error_is_what_the_mean_varies_by_over_draws_of_utterances() -> None:
    rng = np.random.default_rng(0)
    units = rng.integers(5, 40, 200)
    found = [Divergence(float(n * rng.gamma(2.0, 0.05)), int(n)) for n in units]
    score = divergence_score([str(n) for n in range(200)], found)
    draws = rng.integers(200, size=(20_000, 200))
    errors, counted = np.asarray(score.errors), np.asarray(score.units)
    means = errors[draws].sum(1) / counted[draws].sum(1)
    assert standard_error(score) == pytest.approx(means.std(), rel=0.03)


def test_one_utterance_has_no_standard_error_and_equal_ones_have_none_to_speak_of() -> None:
    assert standard_error(divergence_score(["a"], [Divergence(3.0, 10)])) is None
    assert standard_error(divergence_score(["a", "b"], [Divergence(3.0, 10), Divergence(6.0, 20)])) == pytest.approx(0)
    assert figures(divergence_score(["a"], [Divergence(1.0, 3)])) == {"divergence": 0.3333, "divergence_error": None}
