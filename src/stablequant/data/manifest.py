"""From what a user names on the command line to utterances.

Understood: a LibriSpeech or Common Voice folder, a JSONL or TSV manifest, a folder that holds ``manifest.jsonl``, a folder of
recordings without text, and ``hf:name[:config]:split`` for a Hugging Face dataset. Audio is not opened here.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from stablequant.data.hub import read_hub
from stablequant.data.paths import reason, shown, status
from stablequant.data.readers import expand, read_folder, read_jsonl, read_tsv
from stablequant.data.utterance import Utterance
from stablequant.errors import DataError, SettingsError

_FORMS = (
    "a LibriSpeech folder (*.trans.txt), a Common Voice folder (*.tsv and clips), a .jsonl or .tsv manifest, a folder holding "
    "manifest.jsonl, a folder of recordings without text, or hf:name[:config]:split"
)
_READERS: dict[str, Callable[[Path], list[Utterance]]] = {
    ".jsonl": read_jsonl,
    ".json": read_jsonl,  # NeMo names its JSON lines so
    ".tsv": read_tsv,
}


def load(specs: Sequence[str]) -> tuple[Utterance, ...]:
    """Load one or more sources of speech, with its text or without.

    An id that occurs in several sources is prefixed with its source's name (``dev/0001``) in each of them, so
    that ids do not depend on the order in which the sources are given.

    Args:
        specs: Paths or ``hf:`` names, each read as described in this module.

    Returns:
        All utterances, source by source, with unique ids.

    Raises:
        SettingsError: If no source is given, one is given twice, or ``specs`` is one string.
        DataError: If a source is missing, malformed, or holds no utterance.
    """
    if isinstance(specs, str):
        what = f"The data sources are one string, {shown(specs)!r}"
        raise SettingsError(what, expected="a list of strings, one a source", fix=f"give [{shown(specs)!r}]")
    specs = [str(spec) for spec in specs]
    if not specs or len(set(specs)) < len(specs):
        what = "The same data source is given twice" if specs else "No data source is given"
        raise SettingsError(what, expected=_FORMS, fix="give each source once with --data")
    sources = [_load_one(spec) for spec in specs]
    times = Counter(utterance.id for source in sources for utterance in source)
    names = _distinct([_name(spec) for spec in specs])
    return tuple(
        replace(utterance, set_name=name, id=f"{name}/{utterance.id}" if times[utterance.id] > 1 else utterance.id)
        for name, source in zip(names, sources, strict=True)
        for utterance in source
    )


def _load_one(spec: str) -> list[Utterance]:
    """Read one source and hold that it is not empty and has unique ids."""
    utterances = read_hub(spec) if spec.startswith("hf:") else _read_path(spec)
    if not utterances:
        what = f"{shown(spec)} holds no utterance"
        raise DataError(what, expected=_FORMS)
    repeated = [id_ for id_, times in Counter(u.id for u in utterances).items() if times > 1]
    if repeated:
        what = f"{shown(spec)} has {len(repeated)} ids more than once, the first is {shown(repeated[0])!r}"
        raise DataError(what, expected="one line per id", fix='give every line its own "id"')
    return utterances


def _read_path(spec: str) -> list[Utterance]:
    """Read a local file or folder by its form."""
    if not spec.strip():
        what = f"The data source {spec!r} is an empty path"
        raise DataError(what, expected=_FORMS, fix="check the path given with --data")
    path = expand(spec)
    try:
        is_folder = stat.S_ISDIR(status(path).st_mode)
    except OSError as error:
        gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        what = f"There is no {shown(path)}" if gone else f"{shown(path)} cannot be opened: {reason(error)}"
        raise DataError(what, expected=_FORMS, fix="check the path given with --data") from error
    if is_folder:
        manifest = path / "manifest.jsonl"
        return read_jsonl(manifest) if os.path.lexists(manifest) else read_folder(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        what = f"{shown(path)} is in no known form"
        raise DataError(what, expected=_FORMS)
    return reader(path)


def _name(spec: str) -> str:
    """Return a short name for a source: its file or folder, or a hub dataset's last part."""
    if spec.startswith("hf:"):
        return spec.split(":")[1].rsplit("/", maxsplit=1)[-1]
    path = expand(spec).absolute()
    return shown(path.parent.name if path.stem == "manifest" else path.stem)


def _distinct(names: list[str]) -> list[str]:
    """Number the names that occur more than once."""
    times = Counter(names)
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(f"{name}#{seen[name]}" if times[name] > 1 else name)
    return distinct
