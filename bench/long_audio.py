"""Memory that long recordings take: transcribed in stream, by their length; and pieces, by theirs, beside what is estimated.

    python bench/long_audio.py --minutes 10,60,120

Recordings are those of --data one after another, with a pause of 0.4 s between two, until they last so long. Each length is a
process of its own, which transcribes them with the float model in PyTorch, one thread, or with the int8 files of RUN. With
--within a recording is decoded whole but work stops after so many minutes of it: by then memory has long stopped growing.
Writes bench/results/long_audio.json after each row; no time is reported.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from inputs import GRAFT, WORK, add_data, arguments_of, sources
from result_path import save
from tables import long_audio

from stablequant.data import manifest
from stablequant.data.audio import read
from stablequant.jobs.open import open_model
from stablequant.jobs.transcribe import Transcription
from stablequant.measure.memory import peak

RATE = 16000
PAUSE = np.zeros(int(0.4 * RATE), np.float32)


def write_recording(data: Sequence[str], minutes: float) -> Path:
    """A FLAC file of so many minutes of ``data``."""
    path = WORK / "long" / f"{minutes:g}min.flac"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    utterances, written, index = sorted(manifest.load(data), key=lambda u: u.id), 0, 0
    part = path.with_suffix(".part")
    with soundfile.SoundFile(part, "w", RATE, 1, format="FLAC", subtype="PCM_16") as file:
        while written < minutes * 60 * RATE:
            sound = np.concatenate([read(utterances[index % len(utterances)], RATE), PAUSE])
            file.write(sound)
            written, index = written + len(sound), index + 1
    part.rename(path)
    return path


def of_recording(model: str, runtime: str, path: Path, within: float) -> dict[str, Any]:
    """Peak memory of transcribing it, and how far that went."""
    work = Transcription.start(model, [path], {"max_bad_fraction": 1}, runtime=runtime, threads=1)
    loaded, done = peak(), 0.0

    class Enough(Exception):
        """So many minutes are transcribed."""

    def progress(title: str, seconds: int, total: int) -> None:
        nonlocal done
        done = seconds
        if seconds >= 60 * within:
            raise Enough

    try:
        for _ in work.rows(progress):
            pass
    except Enough:
        pass
    (row,) = work.result()["transcripts"]
    return {
        "minutes": round(sum(s.survey.seconds for s in work.files.values()) / 60, 2),
        "transcribed_minutes": round(done / 60, 2),
        "pieces": row["pieces"],
        "longest_piece": round(max(p["end"] - p["start"] for p in row["parts"]), 2),
        "runtime": work.opened.runtime,
        "loaded_bytes": loaded,
        "peak_bytes": peak(),
        "audio_bytes": round(4 * RATE * sum(s.survey.seconds for s in work.files.values())),
    }


def of_piece(model: str, runtime: str, path: Path, seconds: float) -> dict[str, Any]:
    """Peak memory of one piece of so many seconds beyond what the model takes, and what the bounds say."""
    opened = open_model(model, runtime=runtime, threads=1)
    frontend, before = opened.frontend, peak()
    sound, _ = soundfile.read(path, frames=int(seconds * RATE), dtype="float32")
    frontend.recognize(opened.backend, [sound])
    bounds = frontend.bounds
    estimate = bounds.a_second * seconds + bounds.squared * seconds**2
    return {"seconds": seconds, "bytes": peak() - before, "estimated_bytes": round(estimate), "runtime": opened.runtime}


def apart(kind: str, *words: str) -> dict[str, Any]:
    """A measurement in a process of its own: what one has used once stays in its peak."""
    command = [sys.executable, __file__, "--one", kind, *words]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Measure every length."""
    if sys.argv[1:2] == ["--one"]:
        kind, model, runtime, path, number = sys.argv[2:]
        measure = of_recording if kind == "recording" else of_piece
        print(json.dumps(measure(model, runtime, Path(path), float(number))))
        return
    parser = arguments_of(__doc__)
    parser.add_argument("run", nargs="?", default=GRAFT, help=f"checkpoint, or folder of quantize; default: {GRAFT}")
    parser.add_argument("--runtime", default="", help="of int8 files")
    parser.add_argument("--minutes", default="10,60,120", help="lengths of recordings")
    parser.add_argument("--within", default="1e9", help="minutes to transcribe of each")
    parser.add_argument("--seconds", default="10,30,60", help="lengths of single pieces")
    add_data(parser)
    arguments: argparse.Namespace = parser.parse_args()
    data, model = sources(arguments), arguments.run
    result: dict[str, Any] = {"data": data, "model": Path(model).name, "recordings": [], "pieces": []}
    lengths = [float(x) for x in arguments.minutes.split(",")]
    first = str(write_recording(data, lengths[0]))
    for seconds in arguments.seconds.split(","):
        result["pieces"].append(apart("piece", model, arguments.runtime, first, seconds))
        save("long_audio", result)
    for minutes in lengths:
        path = str(write_recording(data, minutes))
        result["recordings"].append(apart("recording", model, arguments.runtime, path, arguments.within))
        save("long_audio", result)
    print(long_audio.table("long_audio"))


if __name__ == "__main__":
    main()
