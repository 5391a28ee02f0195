"""What the tests of the command line share: the small model, short recordings, and processes of their own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "assets" / "wavlm-graft"
SPEECH = ROOT / "examples" / "asterisk"
#: The command, in a process of its own.
STABLEQUANT = [sys.executable, "-m", "stablequant.cli.main"]


class Ran(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


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


def wait_for(process: subprocess.Popen[str], out: Path, count: int) -> None:
    """Wait until the run in the folder ``out`` has finished ``count`` trials, or ends."""
    while process.poll() is None and len(trials(out / "trials.sqlite")) < count:
        time.sleep(0.02)


def environment() -> dict[str, str]:
    """For a process of its own; one thread, since two wait for each other on a busy machine."""
    source = str(ROOT / "src")
    return os.environ | {"PYTHONPATH": source, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def _as_from_a_terminal() -> None:
    """A shell in the background lets its children ignore Ctrl-C, and nohup lets them ignore a closed terminal."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start(command: list[str], **variables: str) -> subprocess.Popen[str]:
    """A process of its own, from the repository's root, with further environment ``variables``."""
    return subprocess.Popen(
        command,
        env=environment() | variables,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_as_from_a_terminal,
    )


def finish(process: subprocess.Popen[str], seconds: float | None = None) -> Ran:
    """Wait for it and return what it left behind; kill it and fail if that takes longer than ``seconds``."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Ran(process.returncode, out, err)


def children(process: int) -> list[int]:
    """Processes that ``process`` started, theirs too."""
    found: list[int] = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *children(child)]
    return found


def all_gone(processes: Iterable[int], seconds: float = 10.0) -> bool:
    """Whether none of them is there any more, within ``seconds``."""
    end = time.monotonic() + seconds
    left = set(processes)
    while left and time.monotonic() < end:
        left = {number for number in left if Path(f"/proc/{number}").exists()}
        time.sleep(0.05)
    return not left
