"""The command line as a user meets it: in this process for what fails early, in a process of its own for the rest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from commands import MODEL, rows, write_manifest


@pytest.fixture
def changed_model(tmp_path: Path) -> Callable[..., Path]:
    """A copy of the small model without some of its files, or with other values in config.json (None: key removed)."""

    def copy(without: Iterable[str] = (), **config: Any) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns(*without))
        path = folder / "config.json"
        values = json.loads(path.read_text()) | config
        path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
        return folder

    return copy


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few short recordings in each split."""
    lines = [row for split, count in (("train", 3), ("dev", 4), ("test", 3)) for row in rows(split, count)]
    return write_manifest(tmp_path_factory.mktemp("speech") / "manifest.jsonl", lines)
