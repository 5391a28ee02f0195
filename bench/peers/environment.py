"""Environments of their own for peers that want other packages than we do, each made when it is first asked for."""

from __future__ import annotations

import re
import subprocess
import venv
from pathlib import Path

from inputs import WORK
from result_path import ROOT


def python_of(name: str, *packages: str) -> Path:
    """The interpreter of an environment that has ``packages``, in a folder of the work.

    Torch comes first and as constraints.txt has it: left to choose, pip would fetch gigabytes.

    Raises:
        RuntimeError: They cannot be installed, with what pip says last.
    """
    folder = WORK / "environments" / name
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.is_file():
        venv.create(folder, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet"]
        run([*install, "--constraint", ROOT / "constraints.txt", "torch"])
        run([*install, *packages])
        ready.touch()
    return python


def run(command: list[str | Path]) -> str:
    """What a program of such an environment prints.

    Raises:
        RuntimeError: It fails; the message is its own last line, of errors that led to one another that of the first.
    """
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        first, *_ = re.split(r"\n+(?:The above exception|During handling)", ran.stderr or ran.stdout)
        lines = [line.strip() for line in first.splitlines() if line.strip()]
        raise RuntimeError(lines[-1] if lines else f"it ended with status {ran.returncode}")
    return ran.stdout
