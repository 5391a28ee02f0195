"""The manifest formats on disk, one small reader each."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stablequant.data.utterance import SPLITS, Utterance, split_of
from stablequant.errors import DataError

# Names in use: our own, NeMo's (audio_filepath), Common Voice's (path, sentence, client_id).
AUDIO_KEYS = ("audio", "audio_filepath", "path", "file")
TEXT_KEYS = ("text", "sentence", "transcription", "transcript")
SPEAKER_KEYS = ("speaker", "speaker_id", "client_id")


def read_librispeech(folder: Path) -> list[Utterance]:
    """Read every ``*.trans.txt`` below ``folder``; the split comes from the nearest folder named after one.

    Raises:
        DataError: If there is no transcript file, or a line in one has no id.
    """
    utterances = []
    for listing in sorted(folder.rglob("*.trans.txt")):
        # The folder the user named and those below it: what lies above says nothing about the speech.
        parts = (*reversed(listing.parent.relative_to(folder).parts), folder.absolute().name)
        split = next(filter(None, map(split_of, parts)), None)
        for number, line in _lines(listing):
            id_, _, text = line.strip().partition(" ")
            utterances.append(
                Utterance(
                    id=id_,
                    text=text.strip(),
                    audio=listing.parent / f"{id_}.flac",
                    speaker=id_.split("-")[0] if "-" in id_ else None,
                    split=split,
                    source=f"{listing}:{number}",
                )
            )
    if not utterances:
        what = f"{folder} holds neither manifest.jsonl nor any *.trans.txt"
        raise DataError(what, expected="a LibriSpeech folder, or one with a manifest.jsonl")
    return utterances


def read_jsonl(path: Path) -> list[Utterance]:
    """Read one JSON object a line: ``audio`` (or NeMo's ``audio_filepath``) and ``text``, the rest optional.

    Raises:
        DataError: If a line is not a JSON object or lacks a field.
    """
    utterances = []
    for number, line in _lines(path):
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            what = f"{where} is not JSON ({error.msg} at column {error.colno})"
            raise DataError(what, expected="one JSON object a line") from error
        if not isinstance(row, dict):
            what = f"{where} is a JSON {type(row).__name__}"
            raise DataError(what, expected="one JSON object a line")
        utterances.append(_utterance(row, path, where))
    return utterances


def read_tsv(path: Path) -> list[Utterance]:
    """Read tab-separated values with a header line, such as Common Voice's.

    Raises:
        DataError: If the header or a line lacks the audio or the text.
    """
    lines = list(_lines(path))
    # QUOTE_NONE: in these files a quotation mark is part of the sentence.
    rows = csv.DictReader((line for _, line in lines), delimiter="\t", quoting=csv.QUOTE_NONE)
    numbers = (number for number, _ in lines[1:])
    return [_utterance(row, path, f"{path}:{n}") for n, row in zip(numbers, rows, strict=True)]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the non-blank lines of a UTF-8 file with their numbers, without their ends."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = f"{path} cannot be read as text: {error}"
        raise DataError(what, expected="a UTF-8 text file") from error
    # Not splitlines(), which would also cut a transcript at U+2028.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if line.strip():
            yield number, line


def _utterance(row: Mapping[str, Any], path: Path, where: str) -> Utterance:
    """Build an utterance from one line of the manifest ``path``."""
    audio = first(row, AUDIO_KEYS)
    text = first(row, TEXT_KEYS, keep_empty=True)
    for value, keys in ((audio, AUDIO_KEYS), (text, TEXT_KEYS)):
        if not isinstance(value, str):
            what = f"{where} has no {keys[0]}"
            raise DataError(what, expected=f"a string under one of {', '.join(keys)}")
    if first(row, ("offset",)) not in (None, 0, "0"):
        what = f"{where} has an offset into a longer recording"
        raise DataError(what, expected="one audio file an utterance", fix="cut the recording into files")
    speaker = first(row, SPEAKER_KEYS)
    id_ = first(row, ("id",))
    return Utterance(
        id=str(id_) if id_ is not None else _default_id(Path(audio), path),
        text=text,
        audio=_locate(audio, path.parent),
        duration=_duration(first(row, ("duration",)), where),
        speaker=None if speaker is None else str(speaker),
        split=_split(first(row, ("split",)), path, where),
        source=where,
    )


def first(row: Mapping[str, Any], keys: tuple[str, ...], *, keep_empty: bool = False) -> Any:
    """Return the first value under ``keys`` that is there, or None."""
    return next((row[k] for k in keys if row.get(k) is not None and (keep_empty or row[k] != "")), None)


def _default_id(audio: Path, manifest: Path) -> str:
    """Name an utterance after its file, relative to the manifest: the same on every machine."""
    if audio.is_absolute() and audio.is_relative_to(manifest.parent.absolute()):
        audio = audio.relative_to(manifest.parent.absolute())
    return audio.with_suffix("").as_posix()


def _locate(audio: str, folder: Path) -> Path:
    """Resolve a path against the manifest's folder, or Common Voice's ``clips`` in it."""
    path, clip = folder / audio, folder / "clips" / audio
    return clip if clip.is_file() and not path.is_file() else path


def _duration(value: Any, where: str) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        what = f"{where} has the duration {value!r}"
        raise DataError(what, expected="seconds, more than 0")
    return seconds


def _split(value: Any, path: Path, where: str) -> str | None:
    """Return the line's split, or the one the file is named after (``dev.tsv``)."""
    if value is None:
        return split_of(path.stem)
    split = split_of(str(value))
    if split is None:
        what = f"{where} has the split {value!r}"
        raise DataError(what, expected=f"one of {', '.join(SPLITS)} (or train, extra, validation)")
    return split
