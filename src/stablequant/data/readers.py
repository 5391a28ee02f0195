"""The manifest formats on disk, one small reader each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from stablequant.data import fields
from stablequant.data.folder import AUDIO_ENDINGS, tree
from stablequant.data.paths import open_regular, reason, regular_size, shown
from stablequant.data.utterance import Utterance, split_of
from stablequant.errors import DataError

#: Bytes. A line holds one transcript; ten hours of speech, or each of its words with its time, are far below.
LONGEST_LINE = 2**24
#: Common Voice's lists of clips, the first that are there: its splits, or all clips that they are taken from.
_CLIP_LISTS = (("train.tsv", "dev.tsv", "test.tsv"), ("validated.tsv",))


def read_folder(folder: Path) -> list[Utterance]:
    """Read a folder without a manifest: LibriSpeech, Common Voice, or else recordings without text.

    LibriSpeech has a ``*.trans.txt`` somewhere below, Common Voice a ``*.tsv`` beside a folder ``clips``.

    Raises:
        DataError: If there is none of them, a folder or a file cannot be read, or a text holds what is none.
    """
    below = tree(folder)
    if below.unreadable:
        path, why = below.unreadable[0]
        what = f"{shown(path)} {why}"
        raise DataError(what, expected="folders that may be read", fix="check the path and its permissions")
    if listings := [path for path in below.files if path.name.endswith(".trans.txt")]:
        return _librispeech(folder, listings)
    recordings = [path for path in below.files if path.suffix.lower() in AUDIO_ENDINGS]
    beside = {*(path.parent for path in recordings), *below.files}  # a link to a folder stands among the files
    if lists := [path for path in below.files if path.suffix == ".tsv" and path.parent / "clips" in beside]:
        return _common_voice(folder, lists)
    if recordings:
        # With their endings: a.wav and a.flac may lie side by side.
        return [Utterance(shown(p.relative_to(folder).as_posix()), None, p, source=shown(folder)) for p in recordings]
    what = f"{shown(folder)} holds neither manifest.jsonl nor any *.trans.txt, nor a recording"
    raise DataError(
        what, expected="a LibriSpeech or Common Voice folder, one with a manifest.jsonl, or one with recordings"
    )


def _common_voice(folder: Path, lists: Sequence[Path]) -> list[Utterance]:
    """Read the clips of one language that have a text which was validated; the split comes from the list's name."""
    if folder not in {path.parent for path in lists}:
        what = f"{shown(folder)} has Common Voice's lists of clips further below"
        raise DataError(what, expected="the folder of one language", fix=f"give {shown(lists[0].parent)}")
    there = {path.name: path for path in lists if path.parent == folder}
    for names in _CLIP_LISTS:
        if found := [there[name] for name in names if name in there]:
            return [utterance for path in found for utterance in read_tsv(path)]
    what = f"{shown(folder)} has clips, and of their lists only {shown(', '.join(there))}"
    expected = " or ".join(name for names in _CLIP_LISTS for name in names)
    raise DataError(what, expected=expected, fix=f"give the list itself, as in {shown(next(iter(there.values())))}")


def _librispeech(folder: Path, listings: Sequence[Path]) -> list[Utterance]:
    """Read every file of transcripts; the split comes from the nearest folder named after one."""
    utterances = []
    for listing in listings:
        # The folder the user named and those below it: what lies above says nothing about the speech.
        parts = (*reversed(listing.parent.relative_to(folder).parts), folder.absolute().name)
        split = next(filter(None, map(split_of, parts)), None)
        for where, line in _lines(listing):
            id_, _, text = line.strip().partition(" ")
            fields.writable(line, "text", where)
            utterances.append(
                Utterance(
                    id=id_,
                    text=text.strip(),
                    audio=listing.parent / f"{id_}.flac",
                    speaker=id_.split("-")[0] if "-" in id_ else None,
                    split=split,
                    source=where,
                )
            )
    return utterances


def read_jsonl(path: Path) -> list[Utterance]:
    """Read one JSON object a line: ``audio`` (or NeMo's ``audio_filepath``), as a rule ``text``, the rest optional.

    Raises:
        DataError: If a line is not a JSON object, lacks a field, or has one that cannot be used.
    """
    utterances = []
    for where, line in _lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            what = f"{where} is not JSON ({_why_not_json(error)})"
            raise DataError(what, expected="one JSON object a line") from error
        if not isinstance(row, dict):
            what = f"{where} is a JSON {type(row).__name__}"
            raise DataError(what, expected="one JSON object a line")
        utterances.append(_utterance(row, path, where))
    return utterances


def read_tsv(path: Path) -> list[Utterance]:
    """Read tab-separated values with a header line, such as Common Voice's.

    There is no quoting: in these files a quotation mark is part of the sentence.

    Raises:
        DataError: If the header names a column twice, a line has more or fewer columns than it or lacks the audio, or a
            field cannot be used.
    """
    lines = _lines(path)
    where, header = next(lines, ("", ""))
    columns = header.split("\t")
    if repeated := next((c for c in columns if c and columns.count(c) > 1), ""):
        what = f"{where} names the column {shown(repeated)} twice"
        raise DataError(what, expected="a header line with every column once")
    utterances = []
    for where, line in lines:
        values = line.split("\t")
        if len(values) != len(columns):
            what = f"{where} has {len(values)} columns where the header has {len(columns)}"
            raise DataError(what, expected="as many tabs as in the header line", fix="take tabs out of the text")
        utterances.append(_utterance(dict(zip(columns, values, strict=True)), path, where))
    return utterances


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (file and line number, text without its end) of each line of a UTF-8 file that is not blank."""
    try:
        with open_regular(path) as file:
            number = 0
            # Not by splitlines(), which would also cut a transcript at U+2028.
            while raw := file.readline(LONGEST_LINE + 1):
                number += 1
                where = f"{shown(path)}:{number}"
                if len(raw) > LONGEST_LINE:
                    what = f"{where} is longer than {LONGEST_LINE} bytes"
                    raise DataError(what, expected="a line for each utterance")
                line = _text(raw.removesuffix(b"\n").removesuffix(b"\r"), where, first=number == 1)
                if line.strip():
                    yield where, line
    except OSError as error:
        what = f"{shown(path)} cannot be read as text: {reason(error)}"
        raise DataError(what, expected="a UTF-8 text file") from error


def _text(raw: bytes, where: str, *, first: bool) -> str:
    """Decode one line."""
    if first and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        what = f"{where} cannot be read as text: it is UTF-16"
        raise DataError(what, expected="a UTF-8 text file", fix="save the file as UTF-8")
    try:
        return raw.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        what = f"{where} cannot be read as text: {error}"
        raise DataError(what, expected="a UTF-8 text file", fix="save the file as UTF-8") from error


def _why_not_json(error: Exception) -> str:
    """Return the reason in a few words."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    # The one other ValueError there is: Python converts no integer of thousands of digits.
    return "nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"


def _utterance(row: fields.Row, path: Path, where: str) -> Utterance:
    """Build an utterance from one line of the manifest ``path``."""
    audio, text = fields.audio(row, where), fields.text(row, where)
    fields.refuse_offset(row, where)
    return Utterance(
        id=fields.id_(row, where) or _default_id(Path(audio), path),
        text=text,
        audio=_locate(audio, path.parent),
        duration=fields.duration(row, where),
        speaker=fields.speaker(row, where),
        split=fields.split(row, where) or split_of(path.stem),  # or the one that the file is named after: dev.tsv
        source=where,
    )


def _default_id(audio: Path, manifest: Path) -> str:
    """Name an utterance after its file, relative to the manifest: the same on every machine."""
    if audio.is_absolute() and audio.is_relative_to(manifest.parent.absolute()):
        audio = audio.relative_to(manifest.parent.absolute())
    return shown((audio.with_suffix("") if audio.name else audio).as_posix())


def _locate(audio: str, folder: Path) -> Path:
    """Resolve a path against the manifest's folder, or Common Voice's ``clips`` in it, or the home folder after ``~``."""
    path = folder / audio
    if regular_size(path) >= 0:
        return path
    others = [folder / "clips" / audio, *([expand(audio)] if audio.startswith("~") else [])]
    return next((other for other in others if regular_size(other) >= 0), path)


def expand(path: str) -> Path:
    """Return a path with ``~`` or ``~user`` in front replaced by that home folder, if there is one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user
        return Path(path)
