"""A dry run tells what the real one takes, and writes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from commands import MODEL, STABLEQUANT, all_gone, children, environment, finish, rows, start, write_manifest

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


def test_memory_is_held_within_a_fifth_of_what_was_told(cli, tmp_path):
    # Some seconds each: of the shortest recordings, memory would be the libraries' alone.
    lines = [row for split in ("train", "dev", "test") for row in rows(split)[40:43]]
    manifest = write_manifest(tmp_path / "manifest.jsonl", lines)
    options = ["--data", str(manifest), "--out", str(tmp_path / "out"), "--p-max", "0.1", "--p-step", "0.1", "--json"]
    options += ["--recipe", "paper"]
    command = ["quantize", str(MODEL), *options]
    told = cli(*command, "--dry-run")
    assert told.code == 0, told.err
    expected = json.loads(told.out)
    assert not (tmp_path / "out").exists()

    ran = subprocess.run([sys.executable, "-c", MEASURED, *command], env=environment(), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    peak = int(ran.stderr.split()[-1])
    assert abs(expected["peak_bytes"] / peak - 1) < 0.2, (expected["peak_bytes"] / 1e6, peak / 1e6)

    summary = json.loads(ran.stdout)
    assert expected["layers"] == summary["ops"]
    assert expected["values"] == len(Settings().updated(p_max=0.1, p_step=0.1).search.candidates())
    assert expected["naive"] == 1 + expected["layers"] + expected["values"]
    assert summary["search"]["evaluations"] <= expected["evaluations"] + 0.5
    size = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert abs(expected["disk_bytes"] / size - 1) < 0.2
    assert expected["seconds"] > 0


def dry_run(manifest, tmp_path, *options):
    """With two threads, as on a machine of two cores, and a folder of its own for temporary files."""
    (tmp_path / "tmp").mkdir(exist_ok=True)
    arguments = ["--data", str(manifest), "--out", str(tmp_path / "out"), "--p-max", "0.1", "--p-step", "0.1"]
    arguments += ["--recipe", "paper"]
    command = ["quantize", str(MODEL), *arguments, "--dry-run", *options]
    return start([*STABLEQUANT, *command], OMP_NUM_THREADS="2", TMPDIR=str(tmp_path / "tmp"))


def test_it_ends_where_there_are_two_threads(manifest, tmp_path):
    ran = finish(dry_run(manifest, tmp_path, "--json"), seconds=240)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["layers"] == 48
    lines = ran.err.splitlines()
    assert lines[0] == "dry run on the longest batches  0 %"
    assert lines[1].startswith("dry run on the longest batches  100 %")
    assert len(lines) == 2
    assert not list((tmp_path / "tmp").glob("stablequant-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_it_ends_when_it_is_told_to_and_leaves_nothing(number, manifest, tmp_path):
    process = dry_run(manifest, tmp_path)
    # In the middle: the small job has written its first files.
    while process.poll() is None and not list((tmp_path / "tmp").glob("stablequant-*/*")):
        time.sleep(0.02)
    started = children(process.pid)
    assert started
    began = time.monotonic()
    process.send_signal(number)
    ran = finish(process, seconds=60)
    assert all_gone(started)
    assert time.monotonic() - began < 15
    if number == signal.SIGKILL:
        assert ran.code == -signal.SIGKILL
    else:
        assert ran.code == 2
        assert ran.err.splitlines()[-1].startswith("error: the run was interrupted. Fix: run the same command again")
    assert not list((tmp_path / "tmp").glob("stablequant-*"))
    assert not (tmp_path / "out").exists()


def test_what_goes_wrong_in_it_is_told_as_by_the_run_itself(cli, manifest, tmp_path):
    (tmp_path / "model").mkdir()
    ran = cli("quantize", tmp_path / "model", "--data", manifest, "--out", tmp_path / "out", "--dry-run")
    assert ran.code == 2
    message = f"error: {tmp_path / 'model'} has no config.json. Expected a folder in Hugging Face form."
    assert ran.err.splitlines()[-1] == message
    assert "Traceback" not in ran.err


def test_a_dry_run_that_dies_says_so(manifest, tmp_path):
    process = dry_run(manifest, tmp_path)
    while process.poll() is None and not list((tmp_path / "tmp").glob("stablequant-*/*")):
        time.sleep(0.02)
    (child,) = children(process.pid)
    os.kill(child, signal.SIGKILL)
    ran = finish(process, seconds=60)
    assert ran.code == 2
    assert ran.err.splitlines()[-1] == (
        "error: the dry run died (exit code -9). Fix: it may have run out of memory: use smaller batches."
    )
    assert not list((tmp_path / "tmp").glob("stablequant-*"))
