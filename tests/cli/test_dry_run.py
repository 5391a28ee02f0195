"""A dry run tells what the real one takes, and writes nothing."""

from __future__ import annotations

import json
import subprocess
import sys

from commands import MODEL, environment, finish, rows, start, write_manifest

from stablequant.settings import Settings

#: Runs the command line, then tells the most memory that the process had. Not by getrusage: that counts the process
#: which started this one as well.
MEASURED = """
import pathlib, sys
from stablequant.cli.main import main
try:
    main()
finally:
    status = pathlib.Path("/proc/self/status").read_text()
    print("peak", 1024 * int(status.split("VmHWM:")[1].split()[0]), file=sys.stderr)
"""


def test_memory_is_held_within_a_fifth_of_what_was_told(tmp_path):
    # Some seconds each: of the shortest recordings, memory would be the libraries' alone.
    lines = [row for split in ("train", "dev", "test") for row in rows(split)[40:43]]
    manifest = write_manifest(tmp_path / "manifest.jsonl", lines)
    options = ["--data", str(manifest), "--out", str(tmp_path / "out"), "--p-max", "0.1", "--p-step", "0.1", "--json"]
    command = ["quantize", str(MODEL), *options]
    told = finish(start([sys.executable, "-m", "stablequant.cli.main", *command, "--dry-run"]))
    assert told.code == 0, told.err
    expected = json.loads(told.out)
    assert not (tmp_path / "out").exists()

    ran = subprocess.run([sys.executable, "-c", MEASURED, *command], env=environment(), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    peak = int(ran.stderr.split()[-1])
    assert abs(expected["peak_bytes"] / peak - 1) < 0.2, (expected["peak_bytes"] / 1e6, peak / 1e6)

    summary = json.loads(ran.stdout)
    assert expected["layers"] == summary["ops"]
    assert expected["values"] == len(Settings(p_max=0.1, p_step=0.1).search.candidates())
    assert expected["naive"] == 1 + expected["layers"] + expected["values"]
    assert summary["search"]["evaluations"] <= expected["evaluations"] + 0.5
    size = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert abs(expected["disk_bytes"] / size - 1) < 0.2
    assert expected["seconds"] > 0
