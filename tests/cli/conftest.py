"""The command line as a user meets it: in this process for what fails early, in a process of its own for the rest."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from commands import MODEL, Interrupted, Ran, finish, rows, start, trials, write_manifest

from stablequant.cli.main import main


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run a command line in this process; what C libraries write is captured as well."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*args: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["stablequant", *map(str, args)])
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        return Ran(int(left.value.code or 0), *capfd.readouterr())

    return run


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


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory: pytest.TempPathFactory, manifest: Path) -> Interrupted:
    """``stablequant quantize --json``, stopped by Ctrl-C in the middle of its search, and run again."""
    out = tmp_path_factory.mktemp("run") / "out"
    arguments = ["quantize", str(MODEL), "--data", str(manifest), "--out", str(out), "--json", "--set", "batch_size=1"]
    arguments += ["--recipe", "paper", "--gamma", "0", "--p-step", "0.25"]
    command = [sys.executable, "-m", "stablequant.cli.main", *arguments]

    first = start(command)
    while first.poll() is None and len(trials(out / "trials.sqlite")) < 20:
        time.sleep(0.02)
    first.send_signal(signal.SIGINT)
    stopped = finish(first)
    before = trials(out / "trials.sqlite")
    finished = finish(start(command))
    return Interrupted(out, command, stopped, finished, before, trials(out / "trials.sqlite"))
