"""bench/ runs with the source as it is, and its results name what made them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "bench"
RESULTS = sorted((BENCH / "results").glob("*.json"))

#: Runs scripts with --help in one process, which imports all that they do.
HELP = """
import runpy, sys
for script in sys.argv[1:]:
    sys.argv = [script, "--help"]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        assert not end.code, script
    else:
        raise AssertionError(f"{script} did not stop at its help")
"""


def test_every_script_starts() -> None:
    scripts = [p for p in sorted(BENCH.glob("*.py")) if "__main__" in p.read_text()]
    assert len(scripts) > 10
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(BENCH)!r}){HELP}", *map(str, scripts)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr


def entries(result: dict[str, Any]) -> list[dict[str, Any]]:
    """What carries a machine and a command: the result, or what was measured on its own, each model or recipe."""
    models = result.get("models")
    if not isinstance(models, dict):
        return [result]
    whole = {key: result[key] for key in ("machine", "command") if key in result}
    return [{**whole, **entry} for model in models.values() for entry in model.get("recipes", {"": model}).values()]


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.stem)
def test_a_result_names_its_machine_and_a_command_that_is_here(path: Path) -> None:
    for entry in entries(json.loads(path.read_text())):
        assert entry["machine"]["cpu"]
        assert entry["machine"]["cores"]
        if path.stem.startswith("benchmark-"):
            continue  # of `stablequant benchmark --json`; its command stands beside the table
        words = shlex.split(entry["command"])
        assert words[0] == "stablequant" or (ROOT / words[1]).is_file()
        assert not [word for word in words if Path(word).is_absolute()]


CLAIM = """
import json, sys
from pathlib import Path
import result_path
result_path.RESULTS = Path(sys.argv[1])
from tables import claim, methods_table
print(json.dumps([claim.table("found"), methods_table.table("found")]))
"""


def test_a_claim_is_what_the_rows_of_the_table_support(tmp_path: Path) -> None:
    def told(*trained: tuple[float, float]) -> list[str]:
        kinds = [("the recipe default", False, (-0.5, 0.9)), *(("trained", True, ends) for ends in trained)]
        rows = [
            {
                "method": name,
                "bits": "w4a8",
                "labels": training,
                "training": training,
                "minutes": 1.0,
                "bytes_ratio": 0.163,
            }
            | ({"trained": {"steps": 200, "seconds": 96.9, "minutes": 9.22}} if training else {})
            | {"delta": sum(ends) / 2, "delta_interval": ends, "divergence": 0.01, "divergence_error": 0.001}
            for name, training, ends in kinds
        ]
        numbers = dict.fromkeys(("words", "utterances", "dev_utterances", "calibration_utterances"), 9)
        about = {"data": ["a"], "float": 5.0, "command": "c", "broken": {"nats": 2.0, "utterances": 16}}
        machine = {"cpu": "c", "cores": 1, "features": []}
        result = {"models": {"m": {**numbers, **about, "machine": machine, "rows": rows}}}
        (tmp_path / "found.json").write_text(json.dumps(result))
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(BENCH)!r}){CLAIM}", str(tmp_path)]
        run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        claim, table = json.loads(run.stdout)
        assert "| the recipe default | +0.20 (-0.50 to +0.90) |" in table
        return [claim, table]

    (nothing, _), (alike, table), (ahead, _), (behind, _) = (
        told(*ends) for ends in ((), ((0.1, 1.1),), ((1.0, 3.0),), ((-3.0, -1.0),))
    )
    assert nothing == "Of m no model that was trained for a width has been measured."
    assert (
        "| +0.60 (+0.10 to +1.10) | 0.01 and 0.01 | 200 steps on 97 s of speech, 9 minutes | not told apart |" in alike
    )
    assert "| trained | +0.60 (+0.10 to +1.10) | transcripts and training |" in table
    assert ahead.endswith("| the recipe |")
    assert behind.endswith("| training |")


@pytest.mark.parametrize(
    ("delta", "interval", "verdict"),
    [
        (-0.2, (-0.9, 0.4), "met"),
        (0.2, (-0.5, 0.9), "met, open"),
        (0.7, (-0.1, 1.5), "missed, open"),
        (1.2, (0.6, 1.9), "missed"),
    ],
)
def test_a_target_is_met_or_missed_beyond_chance_or_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, delta: float, interval: tuple[float, float], verdict: str
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    rows = [
        {"method": method, "bits": "w4a8", "delta": value, "delta_interval": ends}
        for method, value, ends in (("static, max", 90.0, (80.0, 99.0)), ("the recipe default", delta, interval))
    ]
    machine = {"cpu": "c", "cores": 1, "features": []}
    about = {"words": 9, "data": ["a"], "float": 5.0, "command": "c", "broken": {"utterances": 16}, "machine": machine}
    (tmp_path / "found.json").write_text(json.dumps({"models": {"m": {**about, "rows": rows}}}))
    monkeypatch.setattr(import_module("result_path"), "RESULTS", tmp_path)
    told = import_module("tables.targets").table("found")
    assert f"| w4a8 | 0.5 | {verdict} | {delta:+.2f} (" in told
    assert told.index("the recipe default") < told.index("static, max")


def test_an_output_that_has_nothing_to_do_with_float_is_told_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    compared = import_module("peers.difference").compared
    # Far from 0, so that their mean is close to them.
    float_ = np.random.default_rng(0).normal(5.0, 1.0, (1, 400, 13)).astype(np.float32)
    noise = np.random.default_rng(1).normal(0.0, 0.51, float_.shape)
    padded = np.concatenate([float_, np.zeros((1, 1, 13))], axis=1)
    assert compared(float_, float_) == compared(padded, float_) == {"difference": 0.0}
    assert compared(float_ + noise, float_) == {"difference": pytest.approx(0.1, abs=0.002)}
    still = 5.0 + (float_ - 5.0) / 1000  # what float changes itself may be far less than what is off
    assert compared(still + noise, still) == {"difference": pytest.approx(0.1, abs=0.005)}
    assert compared(np.full_like(float_, np.nan), float_) == {"difference": None, "wrong": "not finite"}
    assert compared(float_[:, :99], float_) == {"difference": None, "wrong": "99 of 400 frames"}
    constant = np.broadcast_to(float_.mean(1, keepdims=True), float_.shape)
    assert compared(constant, float_) == {
        "difference": pytest.approx(0.2, abs=0.01),
        "wrong": "the same in every frame",
    }
    assert compared(-float_, float_) == {"difference": pytest.approx(2.0), "wrong": "200% off"}

    cells = [{"speedup": 18.3434, "difference": None, "wrong": "99 of 400 frames"}, {"speedup": 3.0, "difference": 0.1}]
    shown = import_module("tables.size_speeds").shown
    assert [shown(cell) for cell in [*cells, {"speedup": 2.0}]] == ["18.34, wrong", "3.00, 10% off", "2.00"]
