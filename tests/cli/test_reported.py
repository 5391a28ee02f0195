"""Situations that people who do this job reported, as a user meets them, with the right value each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from commands import MODEL, SPEECH, rows, write_manifest
from numpy.typing import NDArray

from stablequant.tasks.asr import evaluate

RATE = 16000
MOONSHINE = SPEECH.parent / "moonshine-tiny"


def sound(name: str) -> NDArray[np.float64]:
    """A recording at 16 kHz, its peak at 0.7."""
    (row,) = [row for row in rows() if row["id"] == name]
    samples, rate = soundfile.read(row["audio"])
    samples = soxr.resample(samples, rate, RATE)
    return 0.7 * samples / np.abs(samples).max()


@pytest.fixture
def transcript(cli: Any, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What ``stablequant transcribe --json`` says of a recording."""

    def of(samples: NDArray[np.float64], rate: int = RATE, subtype: str = "PCM_16", model: Path = MODEL) -> Any:
        soundfile.write(tmp_path / "a.wav", samples, rate, subtype=subtype)
        ran = cli("transcribe", model, tmp_path / "a.wav", "--json")
        assert ran.code == 0, ran.err
        found = json.loads(ran.out)
        return found["transcripts"][0] | {"notes": " ".join(note for _, note in found["notes"])}

    return of


#: A sentence in forms that all sound the same, and what is told of each.
FORMS: dict[str, tuple[Callable[[NDArray[np.float64]], Any], str, int, str]] = {
    "24 bits": (lambda x: x, "PCM_24", RATE, ""),
    "float": (lambda x: x, "FLOAT", RATE, ""),
    "u-law": (lambda x: x, "ULAW", RATE, ""),
    "48 kHz": (lambda x: soxr.resample(x, RATE, 48000), "PCM_16", 48000, ""),
    "stereo": (lambda x: np.stack([x, x], 1), "PCM_16", RATE, ""),
    "left only": (lambda x: np.stack([x, 0 * x], 1), "PCM_16", RATE, ""),
    "opposite phase": (lambda x: np.stack([x, -x], 1), "PCM_16", RATE, "opposite phase"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_sentence_is_the_same_in_every_form_that_sounds_the_same(transcript, form):
    make, subtype, rate, note = FORMS[form]
    plain = transcript(sound("vm-nomore"))
    found = transcript(make(sound("vm-nomore")), rate, subtype)
    assert found["text"] == plain["text"] != ""
    assert note in found["notes"]
    assert bool(note) == bool(found["notes"])


def test_silence_is_told_and_gives_no_words(transcript):
    found = transcript(np.zeros(RATE))
    assert (found["text"], "is silent" in found["notes"]) == ("", True)


def test_samples_that_are_integers_in_a_float_file_are_refused(cli, tmp_path):
    soundfile.write(tmp_path / "a.wav", sound("vm-nomore") * 32767, RATE, subtype="FLOAT")
    ran = cli("transcribe", MODEL, tmp_path / "a.wav")
    assert ran.code == 2
    assert "a.wav reaches 229" in ran.err


def test_speech_longer_than_moonshine_was_trained_on_is_transcribed_whole(transcript):
    lines = [row for row in rows() if 2.5 < row["duration"] < 5][:14]
    pause = np.zeros(RATE // 4)
    found = transcript(np.concatenate([part for row in lines for part in (sound(row["id"]), pause)]), model=MOONSHINE)
    assert found["pieces"] > 1
    assert found["cut_off"] is False
    assert evaluate(["long"], [" ".join(row["text"] for row in lines)], [found["text"]]).wer < 20


def score(cli: Any, model: Path, path: Path, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``stablequant evaluate --json`` says of a test set."""
    ran = cli("evaluate", model, "--data", write_manifest(path, lines), "--split", "all", "--json")
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_typographic_apostrophes_make_no_difference(cli, tmp_path):
    lines = [row for row in rows() if "'" in row["text"] and 1 < row["duration"] < 4][:4]
    assert len(lines) > 2
    straight = score(cli, MOONSHINE, tmp_path / "m.jsonl", lines)
    curly = [row | {"text": row["text"].replace("'", "\u2019")} for row in lines]
    found = score(cli, MOONSHINE, tmp_path / "m.jsonl", curly)
    assert (found["wer"], found["cer"], found["words"]) == (straight["wer"], straight["cer"], straight["words"])


def test_text_without_spaces_is_scored_by_characters(cli, tmp_path):
    texts = ("今天天气很好我们去公园散步吧", "今日はとても良い天気ですね")
    lines = [row | {"text": text} for row, text in zip(rows("test", 2), texts, strict=True)]
    found = score(cli, MOONSHINE, tmp_path / "m.jsonl", lines)
    assert found["metric"] == "CER"
    assert found["rate"] == found["cer"]


@pytest.mark.parametrize(
    ("tokens", "texts"),
    [
        ("안녕하세요반갑습니다오늘날씨가좋", ("안녕하세요 반갑습니다", "오늘 날씨가 좋습니다")),
        (("tʰ", "aɪ", "kʰ", "dʒ", "m", "æ", "n"), ("tʰ aɪ m", "kʰ æ n")),
    ],
    ids=["syllables", "phonemes"],
)
def test_transcripts_of_the_model_s_own_tokens_are_taken(cli, changed_model, tmp_path, tokens, texts):
    folder = changed_model()
    vocabulary = json.loads((folder / "vocab.json").read_text())
    letters = [token for token in vocabulary if len(token) == 1 and token.isalpha()]
    for old, new in zip(letters, dict.fromkeys(tokens), strict=False):
        vocabulary[new] = vocabulary.pop(old)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = [row | {"text": text} for row, text in zip(rows("test", 2), texts, strict=True)]
    found = score(cli, folder, tmp_path / "m.jsonl", lines)
    assert (found["utterances"], found["skipped"]) == (2, {})
    assert [row["reference"] for row in found["transcripts"]] == list(texts)


def test_headerless_audio_is_one_bad_recording(cli, tmp_path):
    samples, _ = soundfile.read(rows("test", 1)[0]["audio"], dtype="int16")
    (tmp_path / "call.raw").write_bytes(samples.tobytes())
    lines = [*rows("test", 3), {"audio": "call.raw", "text": "hello"}]
    data = write_manifest(tmp_path / "m.jsonl", lines)
    ran = cli("evaluate", MODEL, "--data", data, "--split", "all", "--set", "max_bad_fraction=0.5", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["utterances"] == 3
    assert list(found["skipped"]) == ["call"]


def test_calibration_speech_that_is_silent_is_refused_with_the_cause(cli, tmp_path):
    lines = [row for split in ("train", "dev", "test") for row in rows(split, 2)]
    for number, row in enumerate(lines[:2]):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.zeros(RATE + number), RATE)
        row["audio"] = str(path)
        row["split"] = "calibration"
    ran = cli("quantize", MODEL, "--data", write_manifest(tmp_path / "m.jsonl", lines), "--out", tmp_path / "out")
    assert ran.code == 2
    assert "error: the calibration speech is silent: no recording varies by more than" in ran.err
    assert "Fix: check which channel or device was recorded." in ran.err
