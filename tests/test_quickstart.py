"""examples/quickstart.py runs as a reader would run it, and writes what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_quickstart_runs_to_its_end(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "examples" / "quickstart.py"), "2"]
    ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr
    # A library may have a line of its own to say.
    told = [
        line for line in ran.stdout.splitlines() if line.startswith(("float: ", "sensitive: ", "searched: ", "No more"))
    ]
    assert len(told) == 4, ran.stdout
    first, sensitive, searched, text = told
    assert re.fullmatch(r"float: WER [\d.]+ \(2 utterances\); mse: WER [\d.]+ .*; difference [+-].*", first)
    assert "model.encoder.conv3" in sensitive.partition(";")[0]
    assert searched.startswith("searched: ")
    assert text.rstrip(".,") == "No more messages"
    out = tmp_path / "quickstart-out"
    names = {path.name for path in out.iterdir()}
    assert {"plan.json", "manifest.json", "encoder.onnx", "decoder.openvino.onnx", "report.html"} <= names
