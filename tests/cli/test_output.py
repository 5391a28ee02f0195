"""Where a command's result goes may take none: full, closed, or with a reader that has gone. In processes of their own."""

from __future__ import annotations

import subprocess

import pytest
from commands import MODEL, ROOT, STABLEQUANT, environment, rows


def run(command: list[str], redirected: str) -> subprocess.CompletedProcess[str]:
    shell = ["bash", "-c", f'set -o pipefail; "$0" "$@" {redirected}', *STABLEQUANT, *command]
    return subprocess.run(shell, env=environment(), cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("command", "redirected"),
    [
        (["inspect", str(MODEL), "--json"], ">/dev/full"),
        (["recipes"], ">/dev/full"),
        (["recipes"], ">&-"),
        (["--version"], ">/dev/full"),  # it is written outside of every command
        (["--version"], ">&-"),
    ],
)
def test_a_stdout_that_takes_nothing_is_told(command, redirected):
    ran = run(command, redirected)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith("error: the result cannot be written to stdout (")


@pytest.mark.parametrize("command", [["inspect", str(MODEL)], ["recipes", "--json"], ["--version"]], ids=" ".join)
def test_a_reader_that_has_gone_ends_a_command_as_it_ends_any_other(command):
    """``| head`` takes what it needs and goes; the shell has 141 for a program that SIGPIPE ended."""
    ran = run(command, "| true")
    assert (ran.returncode, ran.stderr) == (141, "")


def test_a_stderr_that_takes_nothing_stops_nothing():
    ran = run(["transcribe", str(MODEL), rows("test", 1)[0]["audio"]], "2>/dev/full")
    assert ran.returncode == 0
    assert ran.stdout.count("\n") == 1
    # Nor does one that is not there, to which an error would go.
    for command, code in ((["recipes"], 0), (["trials", "nowhere"], 2)):
        assert run(command, "2>&-").returncode == code


def test_help_to_a_full_disk_ends_without_a_traceback():
    ran = run(["--help"], ">/dev/full")
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: an input or output of the command cannot be used (No space left on device).")


def test_half_a_file_name_is_written_as_an_escape():
    ran = run(["trials", "\udc80"], "")
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: \\udc80/trials.sqlite is missing")
