"""Results as files: where each goes, and what all of them carry, the machine and the command that makes it again."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stablequant.runtime.processor import int8_overflows, machine

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


def result_path(name: str, *, timed: bool = False) -> Path:
    """bench/results/NAME.json; of a timing NAME-without-vnni.json on x86 without VNNI, where int8 kernels are others."""
    return RESULTS / f"{name}{'-without-vnni' if timed and int8_overflows() else ''}.json"


def load_result(name: str) -> dict[str, Any]:
    """A file of bench/results."""
    loaded: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return loaded


def command() -> str:
    """The command line of this process."""
    return shlex.join(["python", f"bench/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def save(name: str, result: Mapping[str, Any], *, timed: bool = False) -> str:
    """Write ``result`` with the machine and, if it has none, the command; returns the name that the file has."""
    path = result_path(name, timed=timed)
    whole = {"command": command(), **result, "machine": machine()}
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    return path.stem
