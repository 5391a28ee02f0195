"""Runs side by side: the right difference with its interval, the layers that differ, and what is no run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stablequant.report.compare import compare
from stablequant.report.formats import interval, signed
from stablequant.report.outputs.compare import Comparison
from stablequant.tasks.bootstrap import paired_bootstrap
from stablequant.tasks.score import Score

NEEDED = ("plan.json", "summary.json", "utterances.jsonl")


@pytest.fixture
def other(finished: Path, tmp_path: Path) -> Path:
    """The run as another might have left it: one layer clipped elsewhere, an error more on the first two recordings."""
    folder = tmp_path / "other"
    folder.mkdir()
    for name in NEEDED:
        shutil.copy(finished / name, folder)
    plan = json.loads((folder / "plan.json").read_text())
    flagged = next(layer for layer in plan["layers"] if layer["flagged"])
    flagged["p"] = 0.123
    (folder / "plan.json").write_text(json.dumps(plan))
    rows = [json.loads(line) for line in (folder / "utterances.jsonl").read_text().splitlines()]
    for row in rows[:2]:
        row["errors"]["int8_file"] += 1
    (folder / "utterances.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def score(folder: Path) -> Score:
    rows: list[dict[str, Any]] = [json.loads(line) for line in (folder / "utterances.jsonl").read_text().splitlines()]
    errors = tuple(row["errors"]["int8_file"] for row in rows)
    return Score("WER", tuple(row["id"] for row in rows), errors, tuple(row["units"] for row in rows))


def test_difference_is_the_paired_bootstraps_and_layers_are_those_that_differ(finished, other, cli, tmp_path):
    ran = cli("compare", finished, other, "--html", tmp_path / "both.html", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    Comparison.model_validate(found)
    right = paired_bootstrap(score(finished), score(other))
    assert right.delta == pytest.approx(100 * 2 / sum(score(finished).units))
    (row,) = found["differences"]
    assert (row["delta"], row["interval"]) == (round(right.delta, 4), [round(right.low, 4), round(right.high, 4)])
    plan = json.loads((finished / "plan.json").read_text())
    (layer,) = found["layers"]
    assert layer["layer"] == next(x["name"] for x in plan["layers"] if x["flagged"])
    assert [run["p"] for run in layer["runs"]][1] == 0.123
    assert found["layers_alike"] == len(plan["layers"]) - 1
    page = (tmp_path / "both.html").read_text()
    assert f"<td>{layer['runs'][1]['scheme']} {layer['runs'][1]['widths']}, p 0.123</td>" in page
    told = cli("compare", finished, other).out
    assert f"{signed(right.delta)} ({interval((right.low, right.high))})" in told


def test_other_speech_has_no_interval(finished, other):
    lines = (other / "utterances.jsonl").read_text().splitlines()
    (other / "utterances.jsonl").write_text("\n".join(lines[1:]) + "\n")
    (row,) = compare([finished, other])["differences"]
    assert (row["interval"], row["note"]) == (None, "tested on other speech")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("plan.json", "Expected a folder written by stablequant quantize"),
        ("summary.json", "Expected the summary that stablequant quantize wrote"),
        ("utterances.jsonl", "Expected what stablequant quantize wrote"),
    ],
)
def test_what_is_no_run_is_refused(finished, other, cli, damage, message):
    (other / damage).unlink()
    ran = cli("compare", finished, other)
    assert ran.code == 2
    assert message in ran.err
    (other / damage).write_text('{"id": 1}\n')
    assert cli("compare", finished, other).code == 2


def test_one_run_is_nothing_to_compare(finished, cli):
    ran = cli("compare", finished)
    assert (ran.code, "two or more folders" in ran.err) == (2, True)
