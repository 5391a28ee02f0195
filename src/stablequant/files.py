"""Write files all or nothing, and say plainly when there is no room for them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stablequant.errors import ResourceError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary neighbour of ``path`` to write to; it takes the place of ``path`` on success alone.

    Raises:
        ResourceError: The disk is full; what stood at ``path`` stands still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with disk_errors(path):
        try:
            yield part
            os.replace(part, path)  # noqa: PTH105 - the same call on every platform
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's "no space left" into an error that names ``path`` and the mend."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = f"the disk is full while writing {path}"
        raise ResourceError(
            message, mend="free some space and run the same command again: it goes on where it was"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, all or nothing."""
    with replacing(path) as part:
        part.write_text(text)
