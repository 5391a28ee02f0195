"""Every finished trial, on disk: a killed run goes on where it was, and a repeated one costs nothing.

One SQLite file a run, one row a (candidate, shard of utterances). The key is a hash of all the result depends
on: model, weight settings, scales, and the shard's audio. docs/search.md shows how to read it with any SQLite tool.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from stablequant.errors import DataError
from stablequant.files import disk_errors
from stablequant.models.frontend import Transcript

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
    key TEXT PRIMARY KEY, label TEXT NOT NULL, shard INTEGER NOT NULL, seconds REAL NOT NULL, transcripts TEXT NOT NULL
) WITHOUT ROWID
"""


class Journal:
    """Finished trials by key. ``Journal(None)`` keeps them in memory for the life of the process."""

    def __init__(self, path: Path | None) -> None:
        """Open or create the journal at ``path``.

        Raises:
            DataError: The file is no journal, or another run holds it.
        """
        self._path = path or Path("the journal in memory")
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path or ":memory:", timeout=5.0, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(_SCHEMA)
        except sqlite3.DatabaseError as error:
            what = f"{path} cannot be used as a journal of trials ({error})"
            raise DataError(
                what, mend="wait for the other run on this folder, or remove the file to start afresh"
            ) from error

    def __enter__(self) -> Self:
        """Return the journal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._db.close()

    def find(self, key: str) -> list[Transcript] | None:
        """Transcripts of the finished trial ``key``, or ``None``."""
        row = self._db.execute("SELECT transcripts FROM trials WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        return [Transcript(text, tuple(tokens), truncated) for text, tokens, truncated in json.loads(row[0])]

    def add(self, key: str, label: str, shard: int, seconds: float, transcripts: Sequence[Transcript]) -> None:
        """Keep a finished trial; it is on disk when this returns."""
        payload = json.dumps([[t.text, t.tokens, t.truncated] for t in transcripts], ensure_ascii=False)
        with disk_errors(self._path):
            try:
                self._db.execute(
                    "INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?)", (key, label, shard, seconds, payload)
                )
            except sqlite3.OperationalError as error:
                if "full" not in str(error):
                    raise
                import errno

                raise OSError(errno.ENOSPC, str(error)) from error

    def __len__(self) -> int:
        """Number of finished trials."""
        return int(self._db.execute("SELECT COUNT(*) FROM trials").fetchone()[0])
