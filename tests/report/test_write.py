"""What a run leaves for people to read."""

from __future__ import annotations

import json
from pathlib import Path

from stablequant.jobs.evidence import Evidence
from stablequant.report.write import write_reports


def test_summary_card_and_page_are_written(evidence: Evidence, tmp_path: Path) -> None:
    summary = write_reports(evidence, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "README.md",
        "report.html",
        "summary.json",
        "utterances.jsonl",
    ]
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8")) == summary
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (tmp_path / "README.md").read_text(encoding="utf-8").startswith("---\n")
