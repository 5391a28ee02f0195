"""The task of recognition: what it refuses, how it scores, and which answers alarm it."""

from __future__ import annotations

from pathlib import Path

import pytest
import support

from stablequant.data.utterance import Utterance
from stablequant.errors import SettingsError, VocabularyError
from stablequant.heads.head import Answer
from stablequant.settings import DataSettings
from stablequant.tasks.bootstrap import bootstrap
from stablequant.tasks.recognition import ALARM_SHARE, Recognition
from stablequant.tasks.task import TASKS, Evaluation, evaluate, task, task_of

RECOGNITION = Recognition(DataSettings())


def said(*texts: str) -> list[Utterance]:
    return [Utterance(f"u{n}", text, Path(f"{n}.wav")) for n, text in enumerate(texts)]


def heard(*texts: str, cut_off: int = 0) -> list[Answer]:
    return [Answer(text, (), n < cut_off) for n, text in enumerate(texts)]


def test_it_is_the_task_that_settings_name_unless_they_name_another() -> None:
    assert task_of(DataSettings()) == RECOGNITION
    with pytest.raises(SettingsError, match=r"task 'translation' is unknown\. Expected one of recognition"):
        task_of(DataSettings(task="translation"))
    with pytest.raises(SettingsError, match=r"there is a task 'recognition' already\. Expected a new name"):
        task("recognition")(lambda settings: RECOGNITION)
    assert TASKS["recognition"] is Recognition


def test_translations_are_scored_by_the_rules_of_english_whatever_the_language_of_the_speech() -> None:
    german, translated = (DataSettings(language="de", translate=t) for t in (False, True))
    for settings, normalizer in ((german, "basic"), (translated, "english")):
        assert Recognition(settings).suited(said("Hold on.")).decided() == {"normalizer": normalizer}


def test_answers_are_scored_and_described_after_the_normaliser_of_the_settings() -> None:
    examples, answers = said("The colour is red.", "Hold on."), heard("the color is read", "")
    found = evaluate(RECOGNITION, examples, answers)
    assert found == Evaluation(tuple(examples), tuple(answers), found.score, found.figures)
    assert found.score.errors == (1.0, 2.0)
    assert found.score.rate == pytest.approx(50.0)
    assert str(found) == "WER 50.00 (2 utterances)"
    low_high = bootstrap(found.score)
    assert found.figures["wer_interval"] == [round(low_high.low, 4), round(low_high.high, 4)]
    counts = {"wer": 50.0, "words": 6, "utterances": 2, "substitutions": 1, "deletions": 2, "insertions": 0, "empty": 1}
    assert found.figures.items() >= counts.items()
    strict = evaluate(Recognition(DataSettings(normalizer="none")), examples, answers)
    assert strict.score.errors == (3.0, 2.0)


def test_text_that_a_model_cannot_write_is_refused_and_too_much_of_it_is_an_error() -> None:
    head, fine = support.graft().frontend.head, ["so it goes"] * 99
    assert RECOGNITION.refuse(said(*fine), head) == {}
    refused = RECOGNITION.refuse(said(*fine, "æther"), head)
    assert list(refused) == ["u99"]
    assert "has letters in its transcript that the model cannot write (æ)" in refused["u99"]
    with pytest.raises(VocabularyError, match="2 of 101 transcripts hold letters that the model cannot write"):
        RECOGNITION.refuse(said(*fine, "æther", "слышу"), head)


def test_a_model_that_writes_subwords_refuses_nothing() -> None:
    assert RECOGNITION.refuse(said("слышу"), support.moonshine().frontend.head) == {}


@pytest.mark.parametrize(
    ("texts", "doubts"),
    [
        (["so it goes", "", "", "so it goes"], []),  # half of them: just bearable
        (["so it goes", "", "", ""], ["3 of 4 transcripts are empty"]),
        (["it so goes on and on"] * 4, ["WER is 167 %"]),
        ([""] * 4, ["4 of 4 transcripts are empty", "WER is 100 %"]),
    ],
)
def test_a_float_model_that_hardly_gets_a_word_right_is_doubted(texts: list[str], doubts: list[str]) -> None:
    assert RECOGNITION.doubts(said(*["so it goes"] * 4), heard(*texts)) == doubts


def test_more_empty_or_cut_off_answers_than_the_reference_s_are_an_alarm() -> None:
    fine = heard(*["a word"] * 100)
    room = round(100 * ALARM_SHARE)
    assert RECOGNITION.alarms(fine, fine, "the simulation") == []
    assert RECOGNITION.alarms(heard(*[""] * room, *["a word"] * (100 - room)), fine, "the simulation") == []
    many = heard(*[""] * (room + 1), *["a word"] * (99 - room), cut_off=room + 1)
    empty, runaway = RECOGNITION.alarms(many, fine, "the simulation")
    assert empty == "3 of 100 transcripts are empty, 0 of the simulation"
    assert runaway == ("3 of 100 transcripts are cut off at the length limit (a runaway decoder), 0 of the simulation")
    # The float model's own silence is not the plan's doing.
    assert RECOGNITION.alarms(many, many, "the float model") == []
