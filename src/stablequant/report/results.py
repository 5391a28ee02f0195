"""JSON that the program wrote, read again: whole and of the known form, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from stablequant.errors import DataError
from stablequant.files import json_value
from stablequant.report.outputs.evaluate import Evaluation
from stablequant.report.outputs.judging import Clipped, Drift
from stablequant.report.outputs.summary import Summary, UtteranceRow

SUMMARY = "the summary that stablequant quantize wrote"
UTTERANCES = "utterances.jsonl"
#: Results of commands that the page of a run shows beside its own, by command.
RESULTS: dict[str, type[BaseModel]] = {"evaluate": Evaluation, "clipped": Clipped, "drift": Drift}


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of a run.

    Raises:
        DataError: There is none, or it is damaged.
    """
    return _object(folder / "summary.json", SUMMARY, "run it again")


def whole_summary(folder: Path) -> dict[str, Any]:
    """The summary of a run with all that a page shows.

    Raises:
        DataError: There is none, or it is damaged or of another version.
    """
    found = read_summary(folder)
    if wrong := _wrong(Summary, found):
        what = f"{folder / 'summary.json'} is damaged, or of another version ({wrong})"
        raise DataError(what, expected=SUMMARY, fix="run it again: finished trials are not repeated")
    return found


def read_utterances(folder: Path) -> list[dict[str, Any]]:
    """Each recording of a run's test speech, as utterances.jsonl has them.

    Raises:
        DataError: There are none, or they are damaged.
    """
    path, expected, fix = folder / UTTERANCES, "what stablequant quantize wrote", "run it again"
    found = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            row = json_value(line)
            if wrong := _wrong(UtteranceRow, row):
                what = f"line {number}: {wrong}"
                raise ValueError(what)
            found.append(row)
    except (OSError, ValueError) as error:
        what = f"{path} cannot be read ({error})"
        raise DataError(what, expected=expected, fix=fix) from error
    return found


def read_result(path: Path) -> tuple[str, dict[str, Any]]:
    """The command whose ``--json`` printed the file at ``path``, and what it holds.

    Raises:
        DataError: It is no such file.
    """
    expected = f"what --json of {', '.join(RESULTS)} prints"
    fix = f"write it with stablequant evaluate ... --json > {path.name}"
    found = _object(path, expected, fix)
    wrong = {name: _wrong(model, found) for name, model in RESULTS.items()}
    for name, reason in wrong.items():
        if not reason:
            return name, found
    # The one that it resembles most tells best what is wrong.
    likest = max(RESULTS, key=lambda name: len(set(RESULTS[name].model_fields) & set(found)))
    what = f"{path} is of no known form (as of {likest}: {wrong[likest]})"
    raise DataError(what, expected=expected, fix=fix)


def _object(path: Path, expected: str, fix: str) -> dict[str, Any]:
    try:
        found = json_value(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = f"{path} cannot be read ({error})"
        raise DataError(what, expected=expected, fix=fix) from error
    if not isinstance(found, dict):
        what = f"{path} holds a JSON {type(found).__name__}"
        raise DataError(what, expected=expected, fix=fix)
    return found


def _wrong(model: type[BaseModel], found: Any) -> str:
    """The first thing that is wrong with ``found``; empty where nothing is."""
    try:
        model.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return ""
