"""A folder and its float model side by side under conditions."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import support
from run_folders import list_anew

from stablequant.families.family import Bounds
from stablequant.families.wav2vec2 import Wav2Vec2
from stablequant.heads.head import Answer
from stablequant.jobs.conditions import answer_whole
from stablequant.jobs.evaluate import evaluate
from stablequant.jobs.evidence import Evidence
from stablequant.quantize.plan import Plan
from stablequant.quantize.simulate import Simulator
from stablequant.report import tables
from stablequant.report.summary import summarise
from stablequant.settings import Settings

CONDITIONS = "clean,noise:0,long:20,silence"


@pytest.fixture(scope="module")
def found(evidence: Evidence) -> dict[str, Any]:
    return evaluate(str(evidence.job.out), evidence.job.sources, runtime="onnxruntime", conditions=CONDITIONS)


def test_clean_is_what_evaluate_and_summary_say(found: dict[str, Any], evidence: Evidence) -> None:
    clean = found["conditions"][0]
    told = summarise(evidence)
    for name, expected in (("float", told["float"]), ("int8", told["int8_file"])):
        assert {key: clean[name][key] for key in ("rate", "words", "deletions", "empty")} == {
            key: expected[key] for key in ("rate", "words", "deletions", "empty")
        }
    assert clean["int8"]["delta"] == told["int8_file"]["delta"]
    assert clean["int8"]["delta_interval"] == told["int8_file"]["delta_interval"]
    assert clean["int8"]["rate"] == found["rate"]
    for part in ("buckets", "edges", "regressions"):
        assert clean[part] == found[part] == told[part]


def test_noise_costs_words_and_is_the_same_in_the_float_model_s_own_evaluation(
    found: dict[str, Any], evidence: Evidence
) -> None:
    clean, noisy = found["conditions"][:2]
    assert noisy["condition"] == "noise:0"
    assert noisy["float"]["rate"] > clean["float"]["rate"] + 10
    assert noisy["int8"]["delta"] == pytest.approx(noisy["int8"]["rate"] - noisy["float"]["rate"], abs=1e-3)
    alone = evaluate(str(support.GRAFT), evidence.job.sources, conditions="noise:0")["conditions"][0]
    assert alone["float"] == noisy["float"]
    assert alone["int8"] is None
    assert not alone["regressions"]


def test_joined_recordings_hold_the_same_words(found: dict[str, Any]) -> None:
    clean, _, long, _ = found["conditions"]
    assert long["float"]["words"] == clean["float"]["words"]
    assert long["utterances"] < clean["utterances"]
    assert long["seconds"] > clean["seconds"]


def test_silence_counts_words_by_the_minute_and_any_is_an_alarm(found: dict[str, Any]) -> None:
    silence = found["conditions"][-1]
    for name in ("float", "int8"):
        words, minutes = silence[name]["words"], silence["seconds"] / 60
        assert silence[name]["metric"] == "words a minute"
        assert silence[name]["rate"] == pytest.approx(words / minutes, rel=0.01)
        told = [text for text in silence["alarms"] if text.startswith(f"{name}: ") and "silences have words" in text]
        assert len(told) == (words > 0)
    assert "buckets" not in silence


class Impatient(Wav2Vec2):
    """A family whose models cope with one second."""

    def bounds(self, config: Mapping[str, Any]) -> Bounds:
        return replace(super().bounds(config), longest=1.0)


def test_a_recording_longer_than_the_model_copes_with_is_answered_in_pieces() -> None:
    model = support.graft()
    speech = support.speech((*support.SHORT,))
    assert max(map(len, speech.waveforms)) > 16000
    frontend = replace(model.frontend, family=Impatient())
    backend = Simulator(model).backend({})
    pieces, owners = speech.in_pieces(1.0, 4, 40.0)
    said = frontend.recognize(backend, list(pieces.waveforms))
    expected = [" ".join(a.text for a, o in zip(said, owners, strict=True) if o == i and a.text) for i in range(4)]
    answers = answer_whole(frontend, backend, speech, Settings(), lambda *_: None, "")
    assert all(isinstance(a, Answer) for a in answers)
    assert [a.text for a in answers] == expected


def test_without_the_checkpoint_int8_stands_alone(evidence: Evidence, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(evidence.job.out, tmp_path / "out"))
    plan = Plan.load(copy / "plan.json")
    gone = plan.model.model_copy(update={"name": str(tmp_path / "gone")})
    plan.model_copy(update={"model": gone}).save(copy / "plan.json")
    list_anew(copy)
    result = evaluate(str(copy), evidence.job.sources, runtime="onnxruntime", conditions="gain:-20")
    (row,) = result["conditions"]
    assert row["float"] is None
    assert "delta" not in row["int8"]
    assert "checkpoint is not at hand" in tables.evaluation(result)


def test_the_terminal_has_a_row_a_condition_and_the_alarms_below(found: dict[str, Any]) -> None:
    rows = [{**row, "alarms": ["int8: something"]} for row in found["conditions"]]
    lines = tables.conditions(rows).splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["clean", "noise:0", "long:20", "silence:40"]
    clean = found["conditions"][0]
    assert f"{clean['int8']['delta']:+.2f}" in lines[2]
    assert lines[6:] == [f"alarm: {row['condition']}: int8: something" for row in rows]
