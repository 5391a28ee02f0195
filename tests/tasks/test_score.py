"""A score is a ratio of sums over utterances; it says what cannot be one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stablequant.errors import DataError
from stablequant.tasks.asr import evaluate
from stablequant.tasks.score import Score

SCORE = Score("WER", ("a", "b", "c"), (1.0, 0.0, 3.0), (2.0, 5.0, 1.0), (4.0, 0.0, 9.0))


def test_the_rate_is_all_errors_over_all_units_not_a_mean_of_rates() -> None:
    assert SCORE.rate == pytest.approx(100 * 4 / 8)
    assert SCORE.total == 8
    assert replace(SCORE, factor=1.0).rate == pytest.approx(0.5)


def test_the_finer_measure_decides_between_equal_rates_alone() -> None:
    finer = replace(SCORE, tie_break=(0.0, 0.0, 1.0))
    better = replace(SCORE, errors=(0.0, 0.0, 3.0), tie_break=(99.0, 99.0, 99.0))
    assert sorted([SCORE, finer, better], key=lambda s: s.rank) == [better, finer, SCORE]
    assert replace(SCORE, tie_break=()).rank == (SCORE.rate, 0)


@pytest.mark.parametrize("field", ["ids", "errors", "units", "tie_break"])
def test_parts_of_unequal_length_are_refused(field: str) -> None:
    with pytest.raises(
        DataError, match="the parts of a score differ in length.*Expected one entry an utterance in each"
    ):
        replace(SCORE, **{field: getattr(SCORE, field)[:2]})


@pytest.mark.parametrize(("ids", "units"), [((), ()), (("a", "b"), (0.0, 0.0))])
def test_nothing_to_count_is_refused(ids: tuple[str, ...], units: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match=f"{len(ids)} utterances have nothing that WER counts"):
        Score("WER", ids, units, units)


def test_word_errors_as_a_score_with_character_errors_to_decide() -> None:
    result = evaluate(["s", "ok"], ["One cat sat.", "Bye!"], ["one hat sat", "bye"], "basic")
    assert result.score == Score("WER", ("s", "ok"), (1.0, 0.0), (3.0, 1.0), (1.0, 0.0))
    assert result.score.rate == result.wer == 25
    assert result.score.grain == 1  # no fewer than one word can go wrong
