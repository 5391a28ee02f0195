"""No test may drop out of sight."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import skips

TESTS = Path(__file__).parent
SKIPPED = "import pytest\ndef test_it(): pytest.skip({!r})\n"
MISSING = "import pytest\n{}pytest.importorskip('no_such_package')\n"


def outcome(folder: Path, code: str) -> str:
    """The last line of pytest on a file with ``code``, and its exit code."""
    (folder / "test_one.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "skips", "-p", "no:cacheprovider", str(folder)]
    ran = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(TESTS)}, capture_output=True, text=True
    )
    return f"{ran.returncode}: {ran.stdout.splitlines()[-1]}"


@pytest.mark.parametrize(
    "code",
    [
        SKIPPED.format("no time"),
        MISSING.format(""),
        MISSING.format("def test_it(): "),
        "import pytest\n@pytest.mark.skip\ndef test_it(): pass\n",
        "import pytest\n@pytest.mark.parametrize('of', [])\ndef test_it(of): pass\n",
    ],
    ids=["in the test", "package of the file", "package of the test", "by a mark", "no parameters"],
)
def test_a_skipped_test_fails_the_suite(tmp_path: Path, code: str) -> None:
    assert outcome(tmp_path, code).startswith(("1: ", "2: "))


@pytest.mark.parametrize("reason", sorted(skips.ALLOWED))
def test_what_a_machine_may_lack_is_named_and_passes(tmp_path: Path, reason: str) -> None:
    assert outcome(tmp_path, SKIPPED.format(reason)).startswith("0: 1 skipped")


def test_an_expected_failure_ran(tmp_path: Path) -> None:
    code = "import pytest\n@pytest.mark.xfail(strict=True)\ndef test_it(): assert False\n"
    assert outcome(tmp_path, code).startswith("0: 1 xfailed")
