"""Every finished trial, on disk: a killed run goes on where it was, and a repeated one costs nothing.

One SQLite file a run, one row a (candidate, batch of utterances). The key is a hash of all that the result depends on:
model, processor, objective, versions, the scheme of every layer, and the batch's audio. docs/search.md shows how to read it
with any SQLite tool.
"""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from stablequant.errors import DataError, ResourceError
from stablequant.files import disk_errors, json_value

_COLUMNS = ("key", "label", "batch", "seconds", "multiplications", "readings")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
    key TEXT PRIMARY KEY, label TEXT NOT NULL, batch INTEGER NOT NULL, seconds REAL NOT NULL,
    multiplications INTEGER NOT NULL, readings TEXT NOT NULL
) WITHOUT ROWID
"""


class Journal:
    """Finished trials by key. ``Journal(None)`` keeps them in memory for the life of the process."""

    def __init__(self, path: Path | None, *, wait: bool = False) -> None:
        """Open or create the journal at ``path``; with ``wait``, once another run that holds it has ended.

        Raises:
            DataError: The file is no journal, it is damaged, or another run holds it.
            ResourceError: It cannot be written, as when the disk is full.
        """
        self._lock: FileLock | None = None
        self._path = path or Path("the journal in memory")
        if path is not None:
            with disk_errors(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = FileLock(f"{path}.lock")
                try:
                    self._lock.acquire(timeout=-1 if wait else 0)
                except Timeout as error:
                    what = f"{path} is held by another run"
                    raise DataError(what, fix="wait for it (--wait), or choose another output folder") from error
        with self._plain_errors():
            self._db = sqlite3.connect(path or ":memory:", timeout=5.0, isolation_level=None)
            tables = {row[0] for row in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            columns = tuple(row[1] for row in self._db.execute("PRAGMA table_info(trials)"))
            if tables and columns != _COLUMNS:
                what = f"{path} is something else (it has {', '.join(sorted(tables))})"
                if tables == {"trials"}:
                    what = f"{path} is a journal of another version"
                fix = "choose another output folder, or remove the journal: its trials are run again"
                raise DataError(what, expected="a journal of this version's trials", fix=fix)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(_SCHEMA)

    def __enter__(self) -> Self:
        """Return the journal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file and let another run have it."""
        self._db.close()
        if self._lock:
            self._lock.release()

    def find(self, key: str) -> tuple[float, int, list[Any]] | None:
        """Seconds, multiplications and readings of the finished trial ``key``, or ``None``."""
        query = "SELECT seconds, multiplications, readings FROM trials WHERE key = ?"
        with self._plain_errors():
            row = self._db.execute(query, (key,)).fetchone()
            return None if row is None else (float(row[0]), int(row[1]), list(json_value(row[2])))

    def add(
        self, key: str, label: str, batch: int, seconds: float, multiplications: int, readings: Sequence[Any]
    ) -> None:
        """Keep a finished trial, its readings as JSON holds them; it is on disk when this returns."""
        row = (key, label, batch, seconds, multiplications, json.dumps(readings, ensure_ascii=False))
        with self._plain_errors():
            self._db.execute("INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?)", row)

    def __len__(self) -> int:
        """Number of finished trials."""
        with self._plain_errors():
            return int(self._db.execute("SELECT COUNT(*) FROM trials").fetchone()[0])

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        """What SQLite says, as an error that names the file and the fix."""
        try:
            yield
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
            kind = getattr(error, "sqlite_errorname", "")
            if kind == "SQLITE_FULL":
                with disk_errors(self._path):
                    raise OSError(errno.ENOSPC, str(error)) from error
            if kind.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")):
                what = f"{self._path} cannot be written ({error}: {kind})"
                fix = "see whether the disk is full or the folder read-only, then run the same command again"
                raise ResourceError(what, fix=fix) from error
            if kind.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                what = f"{self._path} is held by another run ({error})"
                raise DataError(what, fix="wait for it (--wait), or choose another output folder") from error
            what = f"{self._path} is damaged, or no journal of trials ({error})"
            raise DataError(what, fix="move it away: the trials that it held are run again") from error


def finished(path: Path) -> list[dict[str, Any]]:
    """Finished trials of the journal at ``path`` by label, the costliest first; a run may be writing it.

    Returns:
        ``label``, ``batches`` of utterances done, ``utterances`` and ``seconds``, one entry a label.

    Raises:
        DataError: There is no journal, or the file is none.
    """
    if not path.is_file():
        what = f"{path} is missing"
        raise DataError(what, expected="a folder that stablequant quantize wrote")
    query = (
        "SELECT CAST(label AS TEXT), COUNT(*), CAST(TOTAL(json_array_length(readings)) AS INTEGER), TOTAL(seconds) "
        "FROM trials GROUP BY label ORDER BY 4 DESC, 1"
    )
    try:
        found = _read(path, query)
    except sqlite3.Error as error:
        what = f"{path} is damaged, or no journal of trials ({error})"
        raise DataError(what, expected="trials.sqlite as stablequant quantize writes it") from error
    return [dict(zip(("label", "batches", "utterances", "seconds"), row, strict=True)) for row in found]


def _read(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of a journal that is not written to, in a folder that may be read-only."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as db:
            return db.execute(query).fetchall()
    except sqlite3.OperationalError:
        # SQLite wants to make files beside a journal that is being written. Where it may not, nobody else does.
        with closing(sqlite3.connect(f"{address}&immutable=1", uri=True)) as db:
            return db.execute(query).fetchall()
