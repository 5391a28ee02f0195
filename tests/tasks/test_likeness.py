"""The task of speech without text: words unlike the float model's, which stand in the place of the text."""

from __future__ import annotations

from pathlib import Path

import pytest

from stablequant.data.utterance import Utterance
from stablequant.errors import DataError
from stablequant.heads.head import Answer
from stablequant.settings import DataSettings
from stablequant.tasks.bootstrap import bootstrap, paired_bootstrap
from stablequant.tasks.likeness import Likeness
from stablequant.tasks.recognition import Recognition
from stablequant.tasks.task import evaluate, task_of

LIKENESS = Likeness(DataSettings(task="likeness"))


def said(*texts: str | None) -> list[Utterance]:
    return [Utterance(f"u{n}", text, Path(f"{n}.wav")) for n, text in enumerate(texts)]


def answers(*texts: str, cut_off: int = 0) -> list[Answer]:
    return [Answer(text, (), n < cut_off) for n, text in enumerate(texts)]


def test_it_is_decided_by_the_speech_and_kept_in_the_settings() -> None:
    bare, mixed = said(None, None), said(None, "so it goes")
    for task in (task_of(DataSettings()), task_of(DataSettings(task="likeness"))):
        assert task.suited(bare) == LIKENESS
        assert task.suited(bare).decided() == {"task": "likeness"}
        assert isinstance(task.suited(mixed), Recognition)
        assert task.suited(mixed).metric == "WER"
        # By the texts that are there, with the rules of their language.
        assert task.suited(mixed) == task_of(DataSettings()).suited(mixed[1:])


def test_words_unlike_the_reference_s_are_counted_over_its_words() -> None:
    examples, found = said("Hold on, please.", "so it goes"), answers("hold on the pleas", "so it goes")
    result = evaluate(LIKENESS, examples, found)
    assert (result.score.metric, result.score.errors, result.score.units) == ("word difference", (2.0, 0.0), (3.0, 3.0))
    interval = bootstrap(result.score)
    assert result.figures["rate"] == round(interval.rate, 4) == round(100 * 2 / 6, 4)
    assert result.figures["rate_interval"] == [round(interval.low, 4), round(interval.high, 4)]
    counts = {"substitutions": 1, "insertions": 1, "deletions": 0, "words": 6, "utterances": 2, "normalizer": "basic"}
    assert result.figures.items() >= counts.items()
    assert not {"wer", "cer", "wer_interval"} & result.figures.keys()
    assert str(result) == "word difference 33.33 (2 utterances)"


def test_silence_where_the_float_model_says_nothing_counts_as_a_word() -> None:
    examples = said("", "a b")
    for texts, errors, empty in ((("", "a b"), (0, 0), 0), (("x", "a b"), (1, 0), 0), (("", ""), (0, 2), 1)):
        result = evaluate(LIKENESS, examples, answers(*texts))
        assert (result.score.errors, result.score.units) == (errors, (1.0, 2.0))
        assert result.figures["empty"] == empty
    assert LIKENESS.score(said(""), answers("")).rate == 0.0


def test_text_without_spaces_is_compared_by_characters() -> None:
    examples = said("今天天气很好")
    result = evaluate(LIKENESS, examples, answers("今天天气好"))
    assert (result.score.metric, result.score.errors, result.score.units) == ("character difference", (1.0,), (6.0,))
    assert Likeness(DataSettings(language="zh")).metric == "character difference"
    assert LIKENESS.metric == "word difference"


def test_a_normaliser_that_is_named_is_used() -> None:
    examples, found = said("The colour"), answers("the color")
    assert LIKENESS.score(examples, found).errors == (1.0,)
    assert Likeness(DataSettings(language="en")).score(examples, found).errors == (0.0,)
    assert Likeness(DataSettings(normalizer="none")).score(examples, found).errors == (2.0,)


def test_without_what_the_float_model_says_nothing_is_compared() -> None:
    told = r"1 of 2 utterances have no text to compare with\. Expected the float model's transcripts"
    with pytest.raises(DataError, match=told):
        LIKENESS.score(said("a", None), answers("a", "b"))
    with pytest.raises(DataError, match="has no text"):
        Recognition(DataSettings()).score(said(None), answers("b"))


def test_a_model_that_mostly_says_nothing_or_never_ends_is_doubted() -> None:
    examples = said(*[None] * 4)
    assert LIKENESS.doubts(examples, answers("a", "b", "", "")) == []
    assert LIKENESS.doubts(examples, answers("a", "", " ", "")) == ["3 of 4 transcripts are empty"]
    assert LIKENESS.doubts(examples, answers(*"abcd", cut_off=3)) == [
        "3 of 4 transcripts are cut off at the length limit"
    ]


def test_two_models_are_compared_on_the_same_references() -> None:
    examples = said("a b", "c d")
    one, two = (LIKENESS.score(examples, answers(*texts)) for texts in (("a b", "c d"), ("a x", "c d")))
    assert paired_bootstrap(one, two).delta == pytest.approx(25.0)
