"""Errors by what sets recordings apart, at the ends of clips, and the recordings that got worst."""

from __future__ import annotations

from pathlib import Path

import pytest

from stablequant.data.traits import Traits
from stablequant.data.utterance import Utterance
from stablequant.heads.head import Answer
from stablequant.settings import DataSettings
from stablequant.tasks.bootstrap import paired_bootstrap
from stablequant.tasks.breakdown import DRAWS, FEWEST_UNITS, MOST_SPEAKERS, OTHERS, WORST, breakdown
from stablequant.tasks.recognition import Recognition
from stablequant.tasks.task import Evaluation, evaluate

TEXT = "please hold the line"
COUNT = 60
EXAMPLES = [Utterance(f"u{i:02}", TEXT, Path(f"{i}.wav")) for i in range(COUNT)]
#: The even ones are long and loud; speaker 0 has half of them, all others two each.
TRAITS = [
    Traits(25.0 if i % 2 == 0 else 1.0, f"s{i // 2 if i < 30 else 0}", "set", -15.0 if i % 2 == 0 else -35.0, None)
    for i in range(COUNT)
]
TASK = Recognition(DataSettings()).suited(EXAMPLES)


def answered(texts: list[str]) -> Evaluation:
    return evaluate(TASK, EXAMPLES, [Answer(text, ()) for text in texts])


FLOAT = answered([TEXT] * COUNT)
#: The long ones lose their last word, and the first of all loses everything.
INT8 = answered(["", *("please hold the" if i % 2 == 0 else TEXT for i in range(1, COUNT))])
FOUND = breakdown(TASK, TRAITS, INT8, FLOAT)


def test_a_bucket_has_its_own_errors_and_its_own_difference() -> None:
    short, long = FOUND["buckets"]["duration"]
    assert [short["bucket"], long["bucket"]] == ["below 2 s", "20 s and more"]
    assert (short["rate"], short["delta"], short["deletions"]) == (0, 0, 0)
    even = range(0, COUNT, 2)
    difference = paired_bootstrap(FLOAT.score.part(even), INT8.score.part(even), DRAWS)
    assert long["units"] == 4 * 30
    assert long["deletions"] == 4 + 29
    assert (long["substitutions"], long["insertions"], long["float_rate"]) == (0, 0, 0)
    assert long["rate"] == long["delta"] == pytest.approx(100 * 33 / 120, abs=1e-4)
    assert long["delta_interval"] == [round(difference.low, 4), round(difference.high, 4)]
    assert [row["bucket"] for row in FOUND["buckets"]["loudness"]] == ["-40 to -30 dB", "-20 dB and more"]
    assert [row["bucket"] for row in FOUND["buckets"]["signal_to_noise"]] == ["unknown"]
    assert [row["utterances"] for row in FOUND["buckets"]["set"]] == [COUNT]


def test_small_buckets_say_so() -> None:
    first, *others = FOUND["buckets"]["speaker"]
    assert (first["bucket"], first["utterances"], first["few"]) == ("s0", 32, False)
    assert first["units"] >= FEWEST_UNITS == FOUND["fewest_units"]
    assert {(row["utterances"], row["units"], row["few"]) for row in others} == {(2, 8, True)}


def test_speakers_beyond_the_first_are_one_bucket() -> None:
    many = [Traits(1.0, f"s{i:02}", "", None, None) for i in range(COUNT)]
    rows = breakdown(TASK, many, INT8)["buckets"]["speaker"]
    assert len(rows) == MOST_SPEAKERS + 1
    assert (rows[-1]["bucket"], rows[-1]["utterances"]) == (OTHERS, COUNT - MOST_SPEAKERS)
    assert sum(row["units"] for row in rows) == INT8.score.total
    assert "delta" not in rows[0]


def test_what_is_lost_at_the_ends_of_clips_stands_apart() -> None:
    ends = FOUND["edges"]
    assert {name: (row["words"], row["errors"]) for name, row in ends.items() if "errors" in row} == {
        "first": (60, 1),
        "last": (60, 30),
        "elsewhere": (120, 2),
    }
    assert ends["last"]["rate"] == ends["last"]["delta"] == 50
    assert ends["last"]["delta_interval"][0] > 30
    assert ends["added_after"] == {"words": 0, "float_words": 0}


def test_the_worst_regressions_come_first() -> None:
    rows = FOUND["regressions"]
    assert len(rows) == WORST
    assert rows[0] == {
        "id": "u00",
        "audio": "0.wav",
        "text": TEXT,
        "float": TEXT,
        "int8": "",
        "float_errors": 0,
        "int8_errors": 4,
    }
    assert [row["id"] for row in rows[1:3]] == ["u02", "u04"]
    assert breakdown(TASK, TRAITS, FLOAT, INT8)["regressions"] == []
    assert breakdown(TASK, TRAITS, INT8)["regressions"] == []
