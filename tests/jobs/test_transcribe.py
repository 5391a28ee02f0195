"""Recordings of any length become texts one after another, and what is done stays done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import support

import stablequant as sq
from stablequant.data.pieces import cut
from stablequant.jobs.evaluate import evaluate
from stablequant.jobs.transcribe import Transcription, transcribe

RATE = 16000
#: The small model's longest piece, in seconds.
LONGEST = 4.0


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A short recording, a long one at another rate, and a short one."""
    pause = np.zeros(RATE // 4, np.float32)
    long = np.concatenate([part for sound in support.waveforms() * 2 for part in (sound, pause)])
    paths = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")]
    for path, sound in zip(paths, (support.waveform("vm-nomore"), long, support.waveform("is-in-use")), strict=True):
        soundfile.write(path, sound, RATE)
    return paths


@pytest.fixture
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with little memory."""
    bounds = support.graft().frontend.bounds
    need = bounds.a_second * LONGEST + bounds.squared * LONGEST**2
    monkeypatch.setattr("stablequant.families.family.LEAST", 1.0)
    monkeypatch.setattr("stablequant.jobs.pieces.available", lambda: 2 * need)


@pytest.mark.usefixtures("short_pieces")
def test_the_text_of_a_long_recording_is_that_of_its_pieces_in_every_way_to_ask(files: list[Path]) -> None:
    found = transcribe(str(support.GRAFT), files)
    assert [row["file"] for row in found["transcripts"]] == [str(path) for path in files]
    first, long, last = found["transcripts"]
    sound, _ = soundfile.read(files[1], dtype="float32")
    pieces = list(cut([sound], RATE, LONGEST))
    assert len(pieces) == long["pieces"] == len(long["parts"]) > 2
    assert first["pieces"] == last["pieces"] == 1
    model = sq.open(support.GRAFT)
    alone = [model.opened.frontend.recognize(model.opened.backend, [piece.samples]) for piece in pieces]
    texts = [answer.text for (answer,) in alone]
    assert long["text"] == " ".join(texts)
    for part, piece, text in zip(long["parts"], pieces, texts, strict=True):
        end = piece.start + len(piece.samples) / RATE
        assert part == {"start": round(piece.start, 3), "end": round(end, 3), "text": text}
    assert all(row["finished"] and not row["repeats"] for row in found["transcripts"])
    assert model.transcribe(files[1]).text == long["text"]

    manifest = files[0].with_name("speech.jsonl")
    manifest.write_text(json.dumps({"id": "b", "audio": "b.wav", "text": long["text"]}) + "\n")
    scored = evaluate(str(support.GRAFT), [str(manifest)], "all")
    assert (scored["rate"], scored["in_pieces"], scored["utterances"]) == (0, 1, 1)
    assert scored["transcripts"][0]["pieces"] == long["pieces"]


@pytest.mark.usefixtures("short_pieces")
def test_what_is_done_can_be_had_when_work_is_stopped_and_a_file_that_breaks_ends_alone(files: list[Path]) -> None:
    work = Transcription.start(str(support.GRAFT), files, {"batch_size": 1, "batch_seconds": 0.5})
    rows = work.rows()
    assert next(rows)["file"] == str(files[0])
    rows.close()
    # Pieces of the long recording went with the first pool; the last recording was not begun.
    first, *others = work.result()["transcripts"]
    assert (first["file"], first["finished"]) == (str(files[0]), True)
    assert all(not row["finished"] and row["file"] == str(files[1]) for row in others)

    work = Transcription.start(str(support.GRAFT), files, {"batch_size": 1, "batch_seconds": 0.5})
    sound, _ = soundfile.read(files[1], dtype="float32")
    soundfile.write(files[1], sound[: len(sound) // 2], RATE)
    told = {row["file"]: row for row in work.rows()}
    assert [told[str(path)]["finished"] for path in files] == [True, False, True]
    assert told[str(files[1])]["text"]
    assert "has changed while it was transcribed" in work.result()["skipped"][str(files[1])]
