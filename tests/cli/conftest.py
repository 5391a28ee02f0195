"""The command line as a user meets it: in this process for what fails early, in a process of its own for the rest."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stablequant.cli.main import main

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "assets" / "wavlm-graft"
SPEECH = ROOT / "examples" / "asterisk"


class Ran(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


class Interrupted(NamedTuple):
    """A run that was stopped, and the same command once more."""

    out: Path
    command: list[str]
    stopped: Ran
    finished: Ran
    before: dict[str, float]
    """Key -> seconds of each trial in the journal when the run had stopped."""
    after: dict[str, float]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run a command line in this process; what C libraries write is captured as well."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*args: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["stablequant", *map(str, args)])
        handler = signal.getsignal(signal.SIGTERM)
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        signal.signal(signal.SIGTERM, handler)
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


def rows(split: str = "", count: int = 1000) -> list[dict[str, Any]]:
    """The shortest recordings of a split of the example's speech, as lines of a manifest."""
    lines = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text().splitlines()]
    chosen = sorted((r for r in lines if not split or r["split"] == split), key=lambda r: (r["duration"], r["id"]))
    return [row | {"audio": str(SPEECH / row["audio"])} for row in chosen[:count]]


def write_manifest(path: Path, lines: Iterable[dict[str, Any]]) -> Path:
    """Write ``lines`` as a JSONL manifest."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def trials(journal: Path) -> dict[str, float]:
    """Key -> seconds of the trials in a journal; a repeated trial would have taken another time."""
    if not journal.is_file():
        return {}
    connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    try:
        return dict(connection.execute("SELECT key, seconds FROM trials"))
    except sqlite3.OperationalError:  # it has just been made and has no table yet
        return {}
    finally:
        connection.close()


def environment() -> dict[str, str]:
    """For a process of its own; one thread, since two wait for each other on a busy machine."""
    source = str(ROOT / "src")
    return os.environ | {"PYTHONPATH": source, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


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
    arguments += ["--gamma", "0", "--p-step", "0.25"]
    command = [sys.executable, "-m", "stablequant.cli.main", *arguments]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            env=environment(),
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A shell in the background lets its children ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    first = start()
    while first.poll() is None and len(trials(out / "trials.sqlite")) < 20:
        time.sleep(0.02)
    first.send_signal(signal.SIGINT)
    stopped = Ran(*_result(first))
    before = trials(out / "trials.sqlite")
    finished = Ran(*_result(start()))
    return Interrupted(out, command, stopped, finished, before, trials(out / "trials.sqlite"))


def _result(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate()
    return process.returncode, out, err
