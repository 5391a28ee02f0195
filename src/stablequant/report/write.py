"""Write a run's reports into its folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stablequant.export.run_folder import RunFolder, require_whole
from stablequant.files import write_text
from stablequant.jobs.evidence import Evidence
from stablequant.report.card import card
from stablequant.report.material import Material
from stablequant.report.page import page
from stablequant.report.results import UTTERANCES
from stablequant.report.summary import summarise

PAGE = "report.html"


def write_reports(evidence: Evidence, out: Path) -> dict[str, Any]:
    """Write summary.json, utterances.jsonl, the model card README.md and report.html to ``out``; return the summary."""
    summary = summarise(evidence)
    write_text(out / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    write_text(out / UTTERANCES, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in utterances(evidence)))
    write_text(out / "README.md", card(evidence, summary))
    write_text(out / PAGE, page(Material.of(evidence, summary)))
    return summary


def utterances(evidence: Evidence) -> Iterator[Mapping[str, Any]]:
    """One row a recording of the test speech: what `compare` needs to tell a difference from chance."""
    reference, file = evidence.test["float"], evidence.test["int8_file"]
    for i, example in enumerate(reference.examples):
        yield {
            "id": example.id,
            "text": example.text,
            "units": reference.score.units[i],
            "errors": {name: found.score.errors[i] for name, found in evidence.test.items()},
            "float": reference.answers[i].text,
            "int8_file": file.answers[i].text,
        }


def write_page(folder: Path, given: Sequence[Path] = (), out: Path | None = None, *, wait: bool = False) -> Path:
    """Write the page of a finished run again, from its folder, with the results of other commands.

    Args:
        folder: That quantize wrote.
        given: Files that ``--json`` of evaluate, drift or clipped printed.
        out: Where to write; default: report.html of the folder.
        wait: Whether to wait for another command that holds the folder, instead of refusing.

    Returns:
        Where it is.

    Raises:
        StablequantError: As of `Material.read`; or the folder is no whole run, or held by another command.
    """
    require_whole(folder, [])
    text = page(Material.read(folder, given))
    if out is not None:
        write_text(out, text)
        return out
    with RunFolder(folder).held(wait=wait) as held:
        write_text(held.aside / PAGE, text)
        held.publish(more=True)
    return folder / PAGE
