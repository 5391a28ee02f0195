"""Where a command's result goes may take none: full, closed, or with a reader that has gone. In processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest
from commands import MODEL, ROOT, environment

COMMANDS = [["inspect", str(MODEL)], ["inspect", str(MODEL), "--json"], ["recipes"], ["--version"]]
TAKES_NOTHING = {"full": ">/dev/full", "closed": ">&-", "reader gone": "| true"}


def run(command: list[str], redirected: str) -> subprocess.CompletedProcess[str]:
    line = f'set -o pipefail; "$0" -m stablequant.cli.main "$@" {redirected}'
    shell = ["bash", "-c", line, sys.executable, *command]
    return subprocess.run(shell, env=environment(), cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("redirected", TAKES_NOTHING.values(), ids=TAKES_NOTHING)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_stdout_that_takes_nothing_is_told(command, redirected):
    ran = run(command, redirected)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith("error: the result cannot be written to stdout (")


@pytest.mark.parametrize("redirected", ["2>/dev/full", "2>&-"])
def test_a_stderr_that_takes_nothing_stops_nothing(redirected):
    ran = run(["inspect", str(MODEL)], redirected)
    assert ran.returncode == 0
    assert "operations to quantise" in ran.stdout


def test_help_to_a_full_disk_ends_without_a_traceback():
    ran = run(["--help"], ">/dev/full")
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: an input or output of the command cannot be used (No space left on device).")


def test_half_a_file_name_is_written_as_an_escape():
    ran = run(["trials", "\udc80"], "")
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: \\udc80/trials.sqlite is missing")
