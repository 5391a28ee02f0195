"""Open only what is a regular file, and write any file name so that it can be read.

A manifest may name anything: a folder, a pipe that nobody writes to, a device that never ends, a name that no file
system takes. Opening one must neither wait nor raise anything but `OSError`.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

#: Characters of a name that a message repeats.
_LONGEST_NAME = 300
_KINDS = (
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a named pipe"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
)


def status(path: Path) -> os.stat_result:
    """Return what the file system knows of ``path``, links followed.

    Raises:
        OSError: It is not there, cannot be reached, or no file can have that name.
    """
    try:
        return path.stat()
    except ValueError as error:  # a NUL, or a surrogate that stands for no byte
        raise OSError(errno.EINVAL, "no file can have that name") from error


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading, without ever waiting for another process.

    Raises:
        OSError: It cannot be opened, or is not a regular file; ``strerror`` says what it is.
    """
    _require_regular(status(path))  # before opening: to open a device may set it in motion
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _require_regular(os.fstat(descriptor))  # once more: another file may have taken its place
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def regular_size(path: Path) -> int:
    """Return the bytes of a regular file, or -1 where there is none."""
    try:
        found = status(path)
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def reason(error: OSError) -> str:
    """Return why a file could not be opened or read, in the system's words, without its name."""
    return error.strerror or str(error) or type(error).__name__


def shown(name: object) -> str:
    r"""Return a name as one short line that any terminal and file takes: other characters as ``\x00`` or ``\udc80``."""
    text = str(name)
    if len(text) > _LONGEST_NAME:
        half = _LONGEST_NAME // 2
        text = f"{text[:half]}...{text[-half:]}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _require_regular(found: os.stat_result) -> None:
    """Raise OSError unless ``found`` is a regular file."""
    if not stat.S_ISREG(found.st_mode):
        told = next((words for is_kind, words in _KINDS if is_kind(found.st_mode)), "is not a regular file")
        code = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise OSError(code, f"it {told}")
