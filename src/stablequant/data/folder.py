"""Search a folder for recordings, and say what was left out and why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from stablequant.data.paths import open_regular, reason, shown
from stablequant.errors import DataError

#: Formats of libsndfile that hold recordings, by their names there, and the endings in use for each. Left out: formats
#: without a header (RAW), of matrices and features (MAT4, MAT5, HTK), and of instruments (XI, SDS, MPC2K, SD2, WVE).
FORMAT_ENDINGS = {
    "WAV": (".wav", ".wave"),
    "FLAC": (".flac",),
    "MP3": (".mp3",),
    "OGG": (".ogg", ".oga", ".opus"),
    "AIFF": (".aif", ".aiff", ".aifc"),
    "AU": (".au", ".snd"),
    "CAF": (".caf",),
    "NIST": (".sph", ".nist"),
    "W64": (".w64",),
    "RF64": (".rf64",),
    "VOC": (".voc",),
    "IRCAM": (".sf",),
    "SVX": (".8svx",),
    "AVR": (".avr",),
    "PAF": (".paf",),
    "PVF": (".pvf",),
}
#: Endings that a folder is searched for. A file that is named itself is read whatever its ending.
AUDIO_ENDINGS = tuple(ending for endings in FORMAT_ENDINGS.values() for ending in endings)


class Tree(NamedTuple):
    """What lies below a folder: files in order, and (path, reason) of what was not looked at."""

    files: list[Path]
    hidden: list[tuple[Path, str]]
    unreadable: list[tuple[Path, str]]


def tree(folder: Path) -> Tree:
    """List everything below ``folder`` but what is hidden, without following links to folders."""
    files, hidden, unreadable = [], [], []
    waiting = [folder]
    while waiting:  # not by recursion: folders may be nested deeper than Python's stack
        parent = waiting.pop()
        try:
            with os.scandir(parent) as entries:
                listed = [(parent / entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        except (OSError, ValueError) as error:
            told = reason(error) if isinstance(error, OSError) else "no folder can have that name"
            unreadable.append((parent, f"cannot be opened: {told}"))
            continue
        for path, is_folder in listed:
            if path.name.startswith("."):
                hidden.append((path, "is hidden"))
            elif is_folder:
                waiting.append(path)
            else:
                files.append(path)
    return Tree(sorted(files), sorted(hidden), sorted(unreadable))


def recordings_in(folder: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Find the recordings below a folder.

    Links to folders are not followed, so that a loop of links ends; links to files are.

    Returns:
        ``found``: files with one of `AUDIO_ENDINGS`, sorted. ``left_out``: everything else, sorted, with the reason.

    Raises:
        DataError: If ``folder`` itself cannot be opened.
    """
    below = tree(folder)
    if below.unreadable and below.unreadable[0][0] == folder:
        what = f"{shown(folder)} {below.unreadable[0][1]}"
        raise DataError(what, expected="a folder that may be read", fix="check the path and its permissions")
    found, left_out = [], [*below.hidden, *below.unreadable]
    for path in below.files:
        if why := _why_not(path):
            left_out.append((path, why))
        else:
            found.append(path)
    return found, sorted(left_out)


def _why_not(path: Path) -> str:
    """Return why ``path`` is not taken for a recording, or nothing."""
    try:
        open_regular(path).close()
    except OSError as error:
        return f"cannot be opened: {reason(error)}"
    if path.suffix.lower() in AUDIO_ENDINGS:
        return ""
    return f"has the ending {shown(path.suffix)}, which no known recording has" if path.suffix else "has no ending"
