"""Write files all or nothing, say plainly when there is no room for them, and hash what results depend on."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stablequant.errors import ResourceError

#: No space left, quota used up, and more than the file system or a limit lets one file hold.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary neighbour of ``path`` to write to; it takes the place of ``path`` on success alone.

    Raises:
        ResourceError: It cannot be written, as when the disk is full; what stood at ``path`` stands still.
    """
    part = path.with_name(path.name + ".part")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            os.replace(part, path)  # noqa: PTH105 - the same call on every platform
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says while ``path`` is written into an error that names it and the fix."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            what = f"the disk is full while writing {path} ({error.strerror})"
            fix = "free some space and run the same command again: it goes on where it was"
        else:
            what = f"{path} cannot be written ({error.strerror or error})"
            fix = "check the path and its permissions, or choose another folder"
        raise ResourceError(what, fix=fix) from error


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, all or nothing."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def json_value(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: It is no JSON, a number has more digits than Python converts, or it is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        what = "nested too deeply"
        raise ValueError(what) from None


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, independent of key order and spacing."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
