"""What every table needs: Markdown, the processor's name, and the command that makes the result."""

from __future__ import annotations

from typing import Any


def markdown(header: list[str], rows: list[list[str]], *notes: str) -> str:
    """A Markdown table, first column to the left, and paragraphs below it."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    lines = "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *rows))
    return "\n\n".join([lines, *notes])


def cpu(result: dict[str, Any]) -> str:
    """The processor that gave the times, with what int8 kernels use of it."""
    machine = result["machine"]
    features = ", ".join(f.replace("_", "-") for f in machine["features"])
    return f"{machine['cpu']} ({features}), {machine['cores']} cores"


def known(value: float | None, text: str) -> str:
    """``value`` as ``text`` has it; nothing where it was not measured."""
    return "" if value is None else text.format(value)


def interval(ends: list[float]) -> str:
    """The ends of an interval of a difference, with their signs."""
    return "{:+.2f} to {:+.2f}".format(*ends)


def made_by(*results: dict[str, Any]) -> str:
    """The commands that make ``results``."""
    return "; ".join(f"`{r['command']}`" for r in results)
