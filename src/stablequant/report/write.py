"""Write a run's reports into its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stablequant.errors import DataError
from stablequant.files import json_value, write_text
from stablequant.jobs.evidence import Evidence
from stablequant.report.card import card
from stablequant.report.page import page
from stablequant.report.summary import summarise


def write_reports(evidence: Evidence, out: Path) -> dict[str, Any]:
    """Write summary.json, the model card README.md and report.html to ``out``; return the summary."""
    summary = summarise(evidence)
    write_text(out / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    write_text(out / "README.md", card(evidence, summary))
    write_text(out / "report.html", page(evidence, summary))
    return summary


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of a run.

    Raises:
        DataError: There is none, or it is damaged.
    """
    path = folder / "summary.json"
    try:
        found = json_value(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = f"{path} cannot be read ({error})"
        raise DataError(what, expected="the summary that stablequant quantize wrote", fix="run it again") from error
    if not isinstance(found, dict):
        what = f"{path} holds a JSON {type(found).__name__}"
        raise DataError(what, expected="the summary that stablequant quantize wrote", fix="run it again")
    return found
