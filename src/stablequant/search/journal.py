"""Every finished trial, on disk: a killed run goes on where it was, and a repeated one costs nothing.

One SQLite file a run, one row a (candidate, shard of utterances). The key is a hash of all the result depends
on: model, weight settings, scales, and the shard's audio. docs/search.md shows how to read it with any SQLite tool.
"""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from stablequant.errors import DataError, ResourceError
from stablequant.families.frontend import Transcript
from stablequant.files import disk_errors
from stablequant.search.batch import Piece

_COLUMNS = ("key", "label", "shard", "seconds", "multiplications", "transcripts")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
    key TEXT PRIMARY KEY, label TEXT NOT NULL, shard INTEGER NOT NULL, seconds REAL NOT NULL,
    multiplications INTEGER NOT NULL, transcripts TEXT NOT NULL
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
                raise DataError(what, expected="a journal of trials", fix="choose another output folder")
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

    def find(self, key: str) -> tuple[float, int, tuple[Transcript, ...]] | None:
        """Seconds, multiplications and transcripts of the finished trial ``key``, or ``None``."""
        query = "SELECT seconds, multiplications, transcripts FROM trials WHERE key = ?"
        with self._plain_errors():
            row = self._db.execute(query, (key,)).fetchone()
            if row is None:
                return None
            transcripts = tuple(
                Transcript(text, tuple(tokens), cut_off) for text, tokens, cut_off in json.loads(row[2])
            )
            return float(row[0]), int(row[1]), transcripts

    def add(self, key: str, label: str, shard: int, piece: Piece) -> None:
        """Keep a finished trial; it is on disk when this returns."""
        payload = json.dumps([[t.text, t.tokens, t.truncated] for t in piece.transcripts], ensure_ascii=False)
        row = (key, label, shard, piece.seconds, piece.multiplications, payload)
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
        except (sqlite3.Error, ValueError, TypeError) as error:
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
        ``label``, ``shards`` of utterances done, ``utterances`` and ``seconds``, one entry a label.

    Raises:
        DataError: There is no journal, or the file is none.
    """
    if not path.is_file():
        what = f"{path} is missing"
        raise DataError(what, expected="a folder that stablequant quantize wrote")
    query = (
        "SELECT label, COUNT(*), SUM(json_array_length(transcripts)), SUM(seconds) FROM trials "
        "GROUP BY label ORDER BY 4 DESC, 1"
    )
    try:
        with closing(sqlite3.connect(path)) as db:
            found = db.execute(query).fetchall()
    except sqlite3.Error as error:
        what = f"{path} is damaged, or no journal of trials ({error})"
        raise DataError(what, expected="trials.sqlite as stablequant quantize writes it") from error
    return [dict(zip(("label", "shards", "utterances", "seconds"), row, strict=True)) for row in found]
