import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablequant.errors import DataError, SettingsError
from stablequant.tasks.asr import EvaluationResult, evaluate, wrong_words
from stablequant.tasks.rules import resolve

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
    result = evaluate(["a", "b"], ["Um, [noise]", "yes"], ["hello there", "yes"], "english")
    assert (result.words, result.insertions, result.character_edits) == ((0, 1), (2, 0), (11, 0))
    assert result.wer == 200
    assert result.empty == 0
    assert evaluate(["a", "b"], ["um", "yes"], ["", ""], "english").empty == 1


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
        evaluate(["a"], ["um"], ["hello"], "english")
    with pytest.raises(DataError, match="None of 2 references has a word.*'basic'"):
        evaluate(["a", "b"], ["...", "，。"], ["", "好"])
    with pytest.raises(DataError, match="None of 0"):
        evaluate([], [], [])
    with pytest.raises(DataError, match="differ in length.*'hypotheses': 1"):
        evaluate(["a", "b"], ["one", "two"], ["one"])
    with pytest.raises(SettingsError, match="one of english"):
        evaluate(["a"], ["one"], ["one"], normalizer="swedish")


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors", "units"),
    [
        ("किताब मेरी", "कुतोब मुरा", 2, 2),
        ("wir treffen uns um acht", "wir treffen uns acht", 1, 5),
        ("um dia um homem", "dia homem", 2, 4),
        ("un año nuevo", "un ano nuevo", 1, 3),
        ("das ist schön", "das ist schon", 1, 3),
        ("Isparta'ya yarın gideceğim, ışık var.", "ısparta'ya yarın gideceğim ışık var", 0, 5),
        ("I don’t know what the colour is", "i do not know what the color is", 0, 8),
    ],
)
def test_rules_of_one_language_are_not_put_on_another(reference, hypothesis, errors, units):
    result = evaluate(["u"], [reference], [hypothesis])
    assert (result.errors, result.units, result.metric) == ((errors,), (units,), "WER")
    assert result.rate == result.wer == pytest.approx(100 * errors / units)
    assert result.edits == result.word_edits == result.errors


@pytest.mark.parametrize("normalizer", ["auto", "basic", "english", "none"])
def test_text_without_spaces_is_counted_in_characters(normalizer):
    reference, one_wrong, ten_missing = "今天天气很好我们去公园散步吧", "今天天气很好我们去公园散布吧", "好我去吧"
    result = evaluate(["a", "b"], [reference] * 2, [one_wrong, ten_missing], normalizer)
    assert (result.metric, result.unit, result.errors, result.units) == ("CER", "character", (1, 10), (14, 14))
    assert result.edits == result.errors
    assert result.rate == result.cer == pytest.approx(100 * 11 / 28)
    assert result.wer == 100


@pytest.mark.parametrize("normalizer", ["auto", "basic", "english"])
def test_punctuation_between_such_characters_is_none_itself(normalizer):
    result = evaluate(["u"], ["你好，今天天气很好，我们走吧。"], ["你好今天天气很好我们走吧"], normalizer)
    assert (result.rate, result.units) == (0, (12,))
    # Nor are the spaces that a model with word pieces may put there.
    assert evaluate(["u"], ["请 打开 空调"], ["请打开 空调"], normalizer).rate == 0


def test_spaces_count_as_characters_where_words_stand_apart():
    result = evaluate(["u"], ["go away"], ["goaway"])
    assert (result.cer, result.characters, result.unit) == (pytest.approx(100 / 7), (7,), "word")


def test_rules_or_a_language_can_be_given():
    pair = (["u"], ["tango 25"], ["tango twenty-five"])
    assert evaluate(*pair).errors == (2,)
    assert evaluate(*pair, language="en").errors == (0,)
    assert evaluate(*pair, resolve(texts=["please hold on"])).errors == (0,)
    assert evaluate(["u"], ["m n"], ["mn"], language="zh").rate == 0


@pytest.mark.parametrize("texts", [(["a b"], [None]), ([None], ["a b"]), ([b"a"], ["a"]), ([float("nan")], ["a"])])
def test_what_is_no_text(texts):
    with pytest.raises(DataError, match="of u7 is .*, which is no text.*Fix: leave the utterance out"):
        evaluate(["u7"], *texts)


def test_half_a_character_is_told():
    with pytest.raises(DataError, match=r"reference of u7 holds '\\ud83d', half of a character.*UTF-8"):
        evaluate(["u7"], ["so \ud83d good"], ["so good"])


def test_a_million_characters_are_compared():
    words = "hello there " * 80_000
    result = evaluate(["u"], [words + "friend"], [words + "fiend"])
    assert (result.word_edits, result.character_edits) == ((1,), (1,))


def test_a_unit_that_there_is_not():
    row = json.loads(evaluate(["u"], ["one"], ["one"]).to_json())
    with pytest.raises(DataError, match="'phoneme'.*one of word, character"):
        EvaluationResult.from_json(json.dumps(row | {"unit": "phoneme"}))
    # Results written before there was a unit are of words.
    del row["unit"]
    assert EvaluationResult.from_json(json.dumps(row)).unit == "word"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"ids": []}', json.dumps({"surprise": 1})])
def test_json_that_is_no_result(text):
    with pytest.raises(DataError, match="not an evaluation result.*hypotheses"):
        EvaluationResult.from_json(text)


def test_words_that_went_wrong_are_told_word_by_word():
    rules = resolve("english")
    assert wrong_words(rules, "Please enter your number.", "please center your big number") == [
        False,
        True,
        False,
        True,
        False,
    ]
    assert wrong_words(rules, "I'm here", "I am here") == [False, False, False]  # as one word or two
    assert wrong_words(rules, "yes", "") == []
    assert wrong_words(rules, "", "yes um") == [True, False]  # fillers count as no word
