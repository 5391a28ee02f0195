"""Transcribe recordings of which nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stablequant.data.utterance import Utterance
from stablequant.errors import DataError
from stablequant.jobs.open import open_model
from stablequant.jobs.speech import decode
from stablequant.runtime.transcribe import transcribe as transcribe_speech
from stablequant.settings import Settings

#: Endings that a folder is searched for.
AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff")


def transcribe(
    model: str,
    files: Sequence[Path],
    settings: Settings | None = None,
    *,
    runtime: str = "",
    checkpoint: str = "",
    threads: int | None = None,
) -> dict[str, Any]:
    """Text of every recording in ``files`` (folders are searched), batched by length."""
    settings = settings or Settings()
    found: list[Path] = []
    for path in files:
        found += sorted(p for p in path.rglob("*") if p.suffix.lower() in AUDIO) if path.is_dir() else [path]
    if not found:
        what = f"no recordings in {', '.join(map(str, files))}"
        raise DataError(what, expected=f"files ending in {', '.join(AUDIO)}")
    opened = open_model(model, runtime=runtime, checkpoint=checkpoint, threads=threads)
    # Nothing is known of what is said; a dash stands for any text.
    utterances = [Utterance(str(path), "-", path) for path in found]
    speech = decode(opened.frontend, None, {"files": utterances}, settings)["files"]
    answers = transcribe_speech(opened.frontend, opened.backend, speech)
    rows = [
        {"file": u.id, "text": a.text, "cut_off": a.truncated} for u, a in zip(speech.utterances, answers, strict=True)
    ]
    return {"model": model, "runtime": opened.runtime, "transcripts": rows, "skipped": dict(speech.skipped)}
