import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablequant.errors import DataError, SettingsError
from stablequant.tasks.asr import EvaluationResult, evaluate

WORDS = st.lists(st.sampled_from(["a", "bb", "ccc"]), max_size=6).map(" ".join)


def distance(a, b):
    """Levenshtein's table, the plain way."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def test_counts_by_hand():
    result = evaluate(
        ["s", "d", "i", "ok", "empty"],
        ["One cat sat.", "press the key", "hold on", "Bye!", "go away"],
        ["one hat sat", "press key", "please hold on now", "bye", ""],
        normalizer="basic",
    )
    assert result.words == (3, 3, 2, 1, 2)
    assert result.substitutions == (1, 0, 0, 0, 0)
    assert result.deletions == (0, 1, 0, 0, 2)
    assert result.insertions == (0, 0, 2, 0, 0)
    assert result.characters == (11, 13, 7, 3, 7)
    assert result.character_edits == (1, 4, 11, 0, 7)
    assert result.edits == (1, 1, 2, 0, 2)
    assert result.hypothesis_words == (3, 2, 4, 1, 0)
    assert result.counts["words"] == result.total_words == 11
    assert result.counts["insertions"] == 2
    assert result.wer == pytest.approx(100 * 6 / 11)
    assert result.cer == pytest.approx(100 * 23 / 41)
    assert result.empty == 1
    assert result.references[0] == "One cat sat."


def test_the_normaliser_decides_what_is_the_same():
    pair = (["u"], ["The colour is twenty five."], ["the color is 25"])
    assert evaluate(*pair).wer == 0
    assert evaluate(*pair, normalizer="basic").edits == (3,)
    assert evaluate(*pair, normalizer="none").edits == (4,)


def test_a_reference_of_nothing_makes_every_word_an_insertion():
    result = evaluate(["a", "b"], ["Um, [noise]", "yes"], ["hello there", "yes"])
    assert (result.words, result.insertions, result.character_edits) == ((0, 1), (2, 0), (11, 0))
    assert result.wer == 200
    assert result.empty == 0
    assert evaluate(["a", "b"], ["um", "yes"], ["", ""]).empty == 1


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_edits_are_levenshteins(pairs):
    references, hypotheses = ["a", *(r for r, _ in pairs)], ["a", *(h for _, h in pairs)]
    result = evaluate([str(n) for n in range(len(references))], references, hypotheses, "none")
    rows = list(zip(references, hypotheses, strict=True))
    assert result.edits == tuple(distance(r.split(), h.split()) for r, h in rows)
    assert result.character_edits == tuple(distance(r, h) for r, h in rows)
    assert result.words == tuple(len(r.split()) for r, _ in rows)
    assert result.hypothesis_words == tuple(len(h.split()) for _, h in rows)
    assert result.characters == tuple(len(r) for r, _ in rows)
    assert EvaluationResult.from_json(result.to_json()) == result


def test_what_has_no_error_rate():
    with pytest.raises(DataError, match="None of 1 references has a word.*'english'"):
        evaluate(["a"], ["um"], ["hello"])
    with pytest.raises(DataError, match="None of 0"):
        evaluate([], [], [])
    with pytest.raises(DataError, match="differ in length.*'hypotheses': 1"):
        evaluate(["a", "b"], ["one", "two"], ["one"])
    with pytest.raises(SettingsError, match="one of english"):
        evaluate(["a"], ["one"], ["one"], normalizer="swedish")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"ids": []}', json.dumps({"surprise": 1})])
def test_json_that_is_no_result(text):
    with pytest.raises(DataError, match="not an evaluation result.*hypotheses"):
        EvaluationResult.from_json(text)
