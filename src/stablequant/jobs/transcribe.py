"""Transcribe recordings of which nothing is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stablequant.data.folder import AUDIO_ENDINGS, recordings_in
from stablequant.data.paths import shown
from stablequant.data.utterance import Utterance
from stablequant.errors import DataError
from stablequant.jobs.open import open_model
from stablequant.jobs.speech import decode
from stablequant.progress import Progress, silent
from stablequant.runtime.transcribe import transcribe as transcribe_speech
from stablequant.settings import Settings


def transcribe(
    model: str,
    files: Sequence[Path],
    given: Mapping[str, Any] | None = None,
    *,
    runtime: str = "",
    checkpoint: str = "",
    threads: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Text of every recording in ``files`` (folders are searched), batched by length.

    A recording longer than the model copes with is cut at its quietest moments and the texts of the pieces are joined.

    Args:
        model: Folder or hub id.
        files: Recordings, or folders of them.
        given: Settings that the user gave. All others are those of the model's plan, if it has one.
        runtime: That runs int8 files; default: by the files, what is installed, and the processor.
        checkpoint: Where the float checkpoint of the plan is now; default: where it was.
        threads: Of the runtime; default: its own choice.
        progress: Told what is running.

    Returns:
        ``transcripts``: ``file``, ``text``, ``cut_off`` (whether the length limit cut the text off), ``pieces``; ``skipped``
        and ``notes``: what could not be used, or is odd, by file; ``left_out``: what was not tried in a folder, and why.
    """
    language = Settings.parse(given or {}).data.language  # before anything is opened
    found, left_out = _listed(files)
    plain = open_model(model, runtime=runtime, checkpoint=checkpoint, threads=threads, language=language)
    opened = plain.given(given or {})
    settings = opened.settings
    utterances = [Utterance(name, None, path) for name, path in found.items()]
    whole = decode(opened.frontend, None, {"files": utterances}, settings, longest=None)["files"]
    data, longest = settings.data, opened.frontend.bounds.longest
    speech, owners = whole.in_pieces(longest, data.batch_size, data.batch_seconds)
    answers = transcribe_speech(opened.frontend, opened.backend, speech, progress)
    rows: list[dict[str, Any]] = []
    for index, utterance in enumerate(whole.utterances):
        parts = [answer for owner, answer in zip(owners, answers, strict=True) if owner == index]
        rows.append(
            {
                "file": utterance.id,
                "text": " ".join(a.text for a in parts if a.text),
                "cut_off": any(a.truncated for a in parts),
                "pieces": len(parts),
            }
        )
    return {
        "model": model,
        "runtime": opened.runtime,
        "transcripts": rows,
        "skipped": dict(whole.skipped),
        "notes": [list(note) for note in whole.notes],
        "left_out": left_out,
    }


def _listed(files: Sequence[Path]) -> tuple[dict[str, Path], list[list[str]]]:
    """Recordings by the name they are called, and what was left out of folders."""
    found: dict[str, Path] = {}
    left_out: list[list[str]] = []
    for path in files:
        inside, others = recordings_in(path) if path.is_dir() else ([path], [])
        found |= {shown(p): p for p in inside}
        left_out += [[shown(p), why] for p, why in others]
    if not found:
        what = f"no recordings in {', '.join(shown(p) for p in files)}"
        raise DataError(what, expected=f"files ending in {', '.join(AUDIO_ENDINGS)}")
    return found, left_out
