"""Recordings and transcripts that cannot be used: a few are skipped and told, more stop the command."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import soundfile
from commands import MODEL, SPEECH, rows, write_manifest

from stablequant.data import manifest as manifests
from stablequant.errors import AudioError
from stablequant.families.checkpoint import load_frontend
from stablequant.jobs.speech import decode
from stablequant.settings import Settings
from stablequant.tasks.task import task_of

RATE = 16000
#: Samples that one frame of the small model looks at.
SHORTEST = 895


def good_file():
    return rows("test", 1)[0]["audio"]


def corrupt(path):
    whole = (SPEECH / "audio" / "conf-muted.flac").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def write(samples, **more):
    return lambda path: soundfile.write(path, samples, RATE, **more)


BAD = {
    "missing": (lambda path: None, "gone.wav", "There is no audio file {}"),
    "cut short": (corrupt, "cut.flac", "{} cannot be decoded|{} is cut short"),
    "no audio at all": (lambda path: path.write_text("hello"), "text.wav", "{} cannot be decoded"),
    "zero length": (write(np.zeros(0)), "empty.wav", "{} holds no samples"),
    "NaN": (write(np.array([0.1, np.nan] * RATE), subtype="FLOAT"), "nan.wav", "{} holds NaN or infinite samples"),
    "infinite": (write(np.array([0.1, np.inf] * RATE), subtype="FLOAT"), "inf.wav", "{} holds NaN or infinite"),
    "too short": (
        write(np.full(SHORTEST - 1, 0.1)),
        "short.wav",
        f"{{}} is too short: {SHORTEST - 1} samples at {RATE} Hz where the model needs {SHORTEST}",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_recording_is_named_with_the_reason_and_the_fix(cli, finished, tmp_path, case):
    make, name, reason = BAD[case]
    path = tmp_path / name
    make(path)
    ran = cli("transcribe", finished, good_file(), path, "--json")
    assert ran.code == 2
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert ran.err.startswith("error: 1 of 2 recordings cannot be used: ")
    assert any(option.format(path) in ran.err for option in reason.split("|"))
    assert "Fix: fix or remove them, or let more be skipped with --set max_bad_fraction=0.5." in ran.err


def test_one_missing_file_alone_is_told_without_a_share(cli, finished, tmp_path):
    ran = cli("transcribe", finished, tmp_path / "gone.wav")
    assert ran.code == 2
    assert "There is no audio file" in ran.err
    assert "Expected at least one that can." in ran.err


def test_bad_recordings_are_skipped_as_far_as_the_setting_allows(cli, finished, tmp_path):
    gone = tmp_path / "gone.wav"
    allowed = ("--set", "max_bad_fraction=0.5")
    ran = cli("transcribe", finished, good_file(), gone, *allowed)
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 1
    assert f"1 recordings skipped: There is no audio file {gone}" in ran.err
    ran = cli("transcribe", finished, good_file(), gone, "--json", *allowed)
    assert json.loads(ran.out)["skipped"] == {str(gone): f"There is no audio file {gone}"}
    assert [row["file"] for row in json.loads(ran.out)["transcripts"]] == [good_file()]


def test_the_shortest_recording_there_can_be_gives_a_transcript(cli, finished, tmp_path):
    """One sample less has no frame, whose mean would be NaN (the case "too short" above)."""
    path = tmp_path / "click.wav"
    soundfile.write(path, np.full(SHORTEST, 0.1), RATE)
    for model in (finished, MODEL):
        ran = cli("transcribe", model, path, "--json")
        assert ran.code == 0, ran.err
        assert isinstance(json.loads(ran.out)["transcripts"][0]["text"], str)


def hundred(tmp_path, bad):
    """A manifest of 100 recordings, the last ``bad`` of which are not there."""
    lines = [row | {"split": None} for row in rows(count=100)]
    for number in range(bad):
        lines[-1 - number] |= {"audio": str(tmp_path / f"gone-{number}.flac")}
    return write_manifest(tmp_path / "hundred.jsonl", lines)


def test_one_bad_file_in_a_hundred_is_skipped_with_a_count_and_a_list(cli, finished, tmp_path):
    data = hundred(tmp_path, bad=1)
    reason = f"There is no audio file {tmp_path / 'gone-0.flac'}"
    ran = cli("evaluate", finished, "--data", data, "--split", "all", "--json")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert list(result["skipped"].values()) == [reason]
    assert result["utterances"] == len(result["transcripts"]) == 99


def test_more_than_one_bad_file_in_a_hundred_is_fatal(cli, finished, tmp_path):
    ran = cli("evaluate", finished, "--data", hundred(tmp_path, bad=2), "--split", "all")
    assert ran.code == 2
    assert "error: 2 of 100 recordings cannot be used: " in ran.err
    assert "Expected at most 1.00% bad." in ran.err
    assert "--set max_bad_fraction=0.02." in ran.err


def test_the_share_of_bad_files_counts_over_all_splits_together(tmp_path):
    """One in a hundred is fine, though it is more than a hundredth of its own split."""
    frontend = load_frontend(MODEL)
    speech = manifests.load([str(hundred(tmp_path, bad=1))])
    last = [u for u in speech if "gone" in str(u.audio)]
    parts = {"dev": [u for u in speech if u not in last][:80], "test": [u for u in speech if u not in last][80:] + last}
    settings = Settings()
    task = task_of(settings.data)
    decoded = decode(frontend, task, parts, settings)
    assert [len(s.utterances) for s in decoded.values()] == [80, 19]
    assert [reason for _, reason in decoded["test"].skipped] == [f"There is no audio file {last[0].audio}"]
    with pytest.raises(AudioError, match="1 of 20 recordings"):
        decode(frontend, task, {"test": parts["test"]}, settings)


def test_an_empty_transcript_is_told_with_its_line(cli, finished, tmp_path):
    lines = rows("test", 3)
    lines[1]["text"] = "  "
    data = write_manifest(tmp_path / "m.jsonl", lines)
    ran = cli("evaluate", finished, "--data", data, "--split", "all")
    assert ran.code == 2
    assert f"1 of 3 recordings cannot be used: {lines[1]['audio']} has an empty transcript ({data}:2)" in ran.err


def test_letters_outside_the_vocabulary_are_told_before_anything_is_computed(cli, finished, tmp_path):
    lines = rows("test", 3)
    lines[2]["text"] = "слышу"
    data = write_manifest(tmp_path / "m.jsonl", lines)
    ran = cli("evaluate", finished, "--data", data, "--split", "all")
    assert ran.code == 2
    assert "error: 1 of 3 transcripts hold letters that the model cannot write (лсушы), as " in ran.err
    assert lines[2]["id"] in ran.err
    assert "Expected text in the model's alphabet ('abcdefghijklmnopqrstuvwxyz|)." in ran.err
    assert "Fix: use speech in the model's language, or spell the transcripts in its alphabet." in ran.err


def test_a_few_transcripts_with_strange_letters_are_skipped_like_bad_files(cli, finished, tmp_path):
    lines = rows("test", 3)
    lines[2]["text"] = "æther"
    data = write_manifest(tmp_path / "m.jsonl", lines)
    ran = cli("evaluate", finished, "--data", data, "--split", "all", "--set", "max_bad_fraction=0.4")
    assert ran.code == 0, ran.err
    reason = f"{lines[2]['audio']} has letters in its transcript that the model cannot write (æ)"
    assert f"1 recordings skipped: {reason}" in ran.out


def test_speech_without_text_is_refused_for_the_paper_s_search_and_taken_by_the_others(cli, tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for row in rows("test", 5):
        shutil.copy(row["audio"], folder)
    told = (
        "error: the speech has no text, and the paper's search (objective=task) judges every trial by its errors. Expected "
        "speech with its text, or a run that needs none. Fix: judge by the divergence from the float model (the default "
        "recipe, or --objective divergence), or use --recipe fast.\n"
    )
    for more in (("--recipe", "paper"), ("--recipe", "paper", "--search", "racing")):
        ran = cli("quantize", MODEL, "--data", folder, "--out", tmp_path / "out", *more)
        assert (ran.code, ran.out, ran.err) == (2, "", told)
    assert not (tmp_path / "out").exists()
    ran = cli("quantize", MODEL, "--data", folder, "--out", tmp_path / "out", "--set", "cost=model", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["float"]["metric"] == "word difference"
    assert found["search"]["mode"] == "allocate"
    told = ran.out + "".join((tmp_path / "out" / name).read_text() for name in ("report.html", "README.md"))
    assert re.findall(r"(?i)\b[wc]er\b|(?:word|character) error|wer_|_wer", told) == []


def test_rows_without_text_beside_others_are_told_once(cli, tmp_path):
    lines = [*rows("train", 3), *rows("dev", 3), *rows("test", 3)]
    for row in lines[:2]:
        del row["text"]
    data = write_manifest(tmp_path / "m.jsonl", lines)
    ran = cli("evaluate", MODEL, "--data", data, "--split", "all", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["metric"], found["utterances"]) == ("WER", 7)
    ran = cli("quantize", MODEL, "--data", data, "--out", tmp_path / "out", "--recipe", "fast", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["data"]["calibration"]["details"]["utterances"] == 3
    assert found["data"]["references"] == "text"
    assert [str(data), "2 of 9 recordings have no text, as others have: they serve calibration alone"] in found["data"][
        "notes"
    ]
    assert found["float"]["metric"] == "WER"


def test_the_same_recording_in_two_splits_is_an_error(cli, tmp_path):
    lines = rows("dev", 3) + rows("test", 2)
    copy = tmp_path / "renamed.flac"
    shutil.copy(lines[0]["audio"], copy)
    lines[-1]["audio"] = str(copy)
    data = write_manifest(tmp_path / "m.jsonl", lines)
    ran = cli("quantize", MODEL, "--data", data, "--out", tmp_path / "out")
    assert ran.code == 2
    assert f"error: {lines[-1]['id']} in test is the same recording as {lines[0]['id']} in " in ran.err
    assert "Fix: remove it from one of them." in ran.err


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone.jsonl", None, "There is no {}"),
        ("bad.jsonl", '{"audio": "a.wav", "text": "a"}\n{"audio":\n', "{}:2 is not JSON"),
        ("bare.jsonl", '{"text": "a"}\n', "{}:1 has no audio"),
        ("binary.tsv", "\udcff\udcfe", "{}:1 cannot be read as text"),
        ("empty.jsonl", "", "{} holds no utterance"),
        ("speech.csv", "a,b\n", "{} is in no known form"),
    ],
)
def test_a_bad_manifest_is_named_with_its_line(cli, tmp_path, name, text, message):
    path = tmp_path / name
    if text is not None:
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
    ran = cli("evaluate", MODEL, "--data", path)
    assert ran.code == 2
    assert f"error: {message.format(path)}" in ran.err


def test_a_folder_without_recordings_is_told(cli, tmp_path):
    ran = cli("transcribe", MODEL, tmp_path)
    assert ran.code == 2
    assert f"error: no recordings in {tmp_path}. Expected files ending in .wav, " in ran.err
    assert ", .flac, " in ran.err
