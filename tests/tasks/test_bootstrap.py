from dataclasses import replace

import numpy as np
import pytest

from stablequant.errors import DataError, SettingsError
from stablequant.tasks.bootstrap import _CHUNK, bootstrap, paired_bootstrap
from stablequant.tasks.score import Score


def score(words, edits):
    return Score("WER", tuple(str(n) for n in range(len(words))), tuple(map(float, edits)), tuple(map(float, words)))


def binomial(seed, count, rate, words=10):
    return score([words] * count, np.random.default_rng(seed).binomial(words, rate, count))


def test_the_interval_is_the_normal_one_for_many_equal_utterances():
    one = binomial(0, 400, 0.2)
    interval = bootstrap(one, draws=20_000)
    # Equal lengths: the rate is a mean of 400 numbers, whose standard error is known.
    rates = 100 * np.array(one.errors) / 10
    half = 1.96 * rates.std() / np.sqrt(400)
    assert interval.rate == pytest.approx(rates.mean())
    assert interval.low == pytest.approx(rates.mean() - half, abs=0.05 * half)
    assert interval.high == pytest.approx(rates.mean() + half, abs=0.05 * half)
    assert (interval.level, interval.draws, interval.utterances, interval.units) == (0.95, 20_000, 400, 4000)


def test_pairing_sees_what_two_intervals_apart_would_not():
    base = binomial(1, 300, 0.3)
    worse = replace(base, errors=tuple(e + (n % 10 == 0) for n, e in enumerate(base.errors)))
    difference = paired_bootstrap(base, worse)
    assert difference.delta == pytest.approx(worse.rate - base.rate) == pytest.approx(1.0)
    assert 0 < difference.low < 1 < difference.high
    assert bootstrap(base).high > bootstrap(worse).low
    swapped = paired_bootstrap(worse, base)
    assert (swapped.delta, swapped.low, swapped.high) == pytest.approx(
        (-difference.delta, -difference.high, -difference.low)
    )


def test_no_difference_is_exactly_none():
    base = binomial(2, 50, 0.1)
    difference = paired_bootstrap(base, replace(base, tie_break=(1.0,) * 50))
    assert (difference.delta, difference.low, difference.high) == (0, 0, 0)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        interval = bootstrap(binomial(seed, 80, 0.2), draws=400, seed=seed, level=0.9)
        hits += interval.low <= 20 <= interval.high
    assert 0.82 <= hits / 200 <= 0.96  # 0.9 within about three standard errors of 200 trials


def test_a_seed_repeats_and_a_level_widens():
    base = binomial(3, 60, 0.2)
    assert bootstrap(base, draws=500, seed=4) == bootstrap(base, draws=500, seed=4)
    assert bootstrap(base, draws=500, seed=4) != bootstrap(base, draws=500, seed=5)
    narrow, wide = bootstrap(base, draws=2000, level=0.5), bootstrap(base, draws=2000, level=0.99)
    assert wide.low < narrow.low < narrow.rate < narrow.high < wide.high


def test_more_draws_than_one_chunk_holds():
    base = binomial(4, 2000, 0.2)
    draws = 2 * _CHUNK // 2000 + 7
    interval = bootstrap(base, draws=draws)
    rates = 100 * np.array(base.errors) / 10
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * rates.std() / np.sqrt(2000), rel=0.1)


def test_wordless_references_do_not_divide_by_zero():
    interval = bootstrap(score([0, 3], [2, 0]), draws=200)
    assert np.isfinite([interval.low, interval.high]).all()


@pytest.mark.parametrize(
    ("field", "value"), [("ids", ("x", "y", "z")), ("units", (9.0, 10.0, 11.0)), ("metric", "CER")]
)
def test_only_the_same_utterances_counted_alike_can_be_paired(field, value):
    base = binomial(5, 3, 0.2)
    other = replace(base, **{field: value})
    with pytest.raises(DataError, match=f"differ in their {field}"):
        paired_bootstrap(base, other)


@pytest.mark.parametrize("setting", [{"draws": 0}, {"level": 1.0}, {"level": 0.0}])
def test_settings_that_make_no_interval(setting):
    with pytest.raises(SettingsError, match="at least 1 draw"):
        bootstrap(binomial(6, 3, 0.2), **setting)
