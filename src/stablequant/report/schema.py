"""JSON schemas of every JSON that the program writes, from the models that read it and that tests hold it to."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from stablequant.errors import SettingsError
from stablequant.jobs.estimate import Estimate
from stablequant.quantize.plan import Plan
from stablequant.report.outputs.commands import (
    Benchmark,
    Export,
    Inspection,
    Layout,
    Recipes,
    Report,
    Schemas,
    Tracked,
    Trials,
)
from stablequant.report.outputs.compare import Comparison
from stablequant.report.outputs.evaluate import Evaluation, Transcription
from stablequant.report.outputs.finetune import Finetuned
from stablequant.report.outputs.judging import Clipped, Drift
from stablequant.report.outputs.summary import Manifest, Summary, UtteranceRow

#: By name: files of a run first, then what ``--json`` of the commands prints. ``quantize --json`` prints the summary.
OUTPUTS: dict[str, Any] = {
    "plan": Plan,
    "summary": Summary,
    "utterances": UtteranceRow,
    "manifest": Manifest,
    "quantize": Summary,
    "quantize-dry-run": Estimate,
    "inspect": Inspection,
    "finetune": Finetuned,
    "evaluate": Evaluation,
    "transcribe": Transcription,
    "drift": Drift,
    "clipped": Clipped,
    "export": Export,
    "export-layout": Layout,
    "benchmark": Benchmark,
    "trials": Trials,
    "recipes": Recipes,
    "report": Report,
    "compare": Comparison,
    "track": Tracked,
    "schema": Schemas,
}


def schema(name: str) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of the output called ``name``.

    Raises:
        SettingsError: There is none.
    """
    if name not in OUTPUTS:
        what = f"there is no schema {name[:100]!r}"
        raise SettingsError(what, expected=f"one of {', '.join(OUTPUTS)}")
    found: dict[str, Any] = TypeAdapter(OUTPUTS[name]).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def schemas() -> dict[str, Any]:
    """The names of all, each with what it is of."""
    rows = [{"name": name, "about": (output.__doc__ or "").split("\n")[0]} for name, output in OUTPUTS.items()]
    return {"schemas": rows}
