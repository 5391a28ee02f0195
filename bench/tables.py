"""What every table of README.md and docs/ needs: a result, Markdown, and the processor's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def result(name: str) -> dict[str, Any]:
    """A file of bench/results."""
    loaded: dict[str, Any] = json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text())
    return loaded


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, first column to the left."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *rows))


def cpu(result: dict[str, Any]) -> str:
    """The processor that gave the times, with what int8 kernels use of it."""
    machine = result["machine"]
    features = ", ".join(f.replace("_", "-") for f in machine["features"])
    return f"{machine['cpu']} ({features}), {machine['cores']} cores"


def known(value: float | None, text: str) -> str:
    """``value`` as ``text`` has it; nothing where it was not measured."""
    return "" if value is None else text.format(value)
