"""One line of a manifest, field by field: whatever stands there is used or refused, by file, line and field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stablequant.data.paths import shown
from stablequant.data.utterance import SPLITS, split_of
from stablequant.errors import DataError

# Names in use: our own, NeMo's (audio_filepath), Common Voice's (path, sentence, client_id).
AUDIO_KEYS = ("audio", "audio_filepath", "path", "file")
TEXT_KEYS = ("text", "sentence", "transcription", "transcript")
SPEAKER_KEYS = ("speaker", "speaker_id", "client_id")

Row = Mapping[str, Any]


def first(row: Row, keys: tuple[str, ...], *, keep_empty: bool = False) -> Any:
    """Return the first value under ``keys`` that is there, or None."""
    return next((row[k] for k in keys if row.get(k) is not None and (keep_empty or row[k] != "")), None)


def audio(row: Row, where: str) -> str:
    """Return the name of the audio file; whether there can be such a file is seen when it is read.

    Raises:
        DataError: If there is none, or it is no string. The same below, for other fields; ``where`` is file and line.
    """
    return _string(first(row, AUDIO_KEYS), AUDIO_KEYS, where)


def text(row: Row, where: str) -> str | None:
    """Return the transcript, which may be empty, or None where the line has none."""
    value = first(row, TEXT_KEYS, keep_empty=True)
    return None if value is None else writable(_string(value, TEXT_KEYS, where), "text", where)


def id_(row: Row, where: str) -> str | None:
    """Return the utterance's id, if it has one."""
    return _label(first(row, ("id",)), "id", where)


def speaker(row: Row, where: str) -> str | None:
    """Return who speaks, if the line tells."""
    return _label(first(row, SPEAKER_KEYS), "speaker", where)


def duration(row: Row, where: str) -> float | None:
    """Return the seconds, if the line tells."""
    value = first(row, ("duration",))
    if value is None:
        return None
    seconds = _number(value)
    if not 0 < seconds < math.inf:
        what = f"{where} has the duration {told(value)}"
        raise DataError(what, expected="seconds, more than 0")
    return seconds


def split(row: Row, where: str) -> str | None:
    """Return the split, if the line tells."""
    value = first(row, ("split",))
    if value is None:
        return None
    found = split_of(value) if isinstance(value, str) else None
    if found is None:
        what = f"{where} has the split {told(value)}"
        raise DataError(what, expected=f"one of {', '.join(SPLITS)} (or train, extra, validation)")
    return found


def refuse_offset(row: Row, where: str) -> None:
    """Raise DataError if the line is a part of a longer recording."""
    value = first(row, ("offset",))
    if value is not None and _number(value) != 0:
        what = f"{where} has an offset into a longer recording"
        raise DataError(what, expected="one audio file an utterance", fix="cut the recording into files")


def writable(words: str, field: str, where: str) -> str:
    """Return ``words`` if every file and terminal takes them: no NUL, and no half of a surrogate pair."""
    odd = next((c for c in words if c == "\0" or "\ud800" <= c <= "\udfff"), None)
    if odd is not None:
        what = f"{where} has the character {shown(odd)} in its {field}"
        raise DataError(what, expected="Unicode text without NUL", fix="write the manifest again from its source")
    return words


def told(value: object) -> str:
    """Return a JSON value in a message; of a list or an object only what it is, as it may be deep or long."""
    if isinstance(value, list):
        return "[...] (a list)"
    if isinstance(value, dict):
        return "{...} (an object)"
    return shown(repr(value))


def _string(value: Any, keys: tuple[str, ...], where: str) -> str:
    if not isinstance(value, str):
        what = f"{where} has no {keys[0]}" if value is None else f"{where} has the {keys[0]} {told(value)}"
        raise DataError(what, expected=f"a string under one of {', '.join(keys)}")
    return value


def _label(value: Any, field: str, where: str) -> str | None:
    """Return a name; numbers are names too."""
    if value is None or isinstance(value, str):
        return None if value is None else writable(value, field, where)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(_number(value)):
        what = f"{where} has the {field} {told(value)}"
        raise DataError(what, expected="a string or a number")
    return str(value)


def _number(value: Any) -> float:
    """Return the value as a number; NaN if it is none, or too large for one."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
