"""bench/ runs with the source as it is, and its results name what made them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

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
