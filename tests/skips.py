"""A test that does not run fails the suite, unless a machine may lack what it needs: an empty proof looks like a proof."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

#: What a machine may lack, in the words of the skip. An absent package is none of these: the dev extra has them all.
ALLOWED = {
    "no device that is always full",  # /dev/full is Linux's
    "no Chromium here",  # a browser is no package of Python's
    "no user namespaces here, so no file system of one's own",  # other systems and most containers
    "mounting a file system is not allowed here",  # some containers
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Of a test."""
    return _held((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Of a file that skips itself as it is imported."""
    return _held((yield))


def _held(report: Report) -> Report:
    """The report, a failure where it was a skip that is not allowed; an expected failure (xfail) did run."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if reason.removeprefix("Skipped: ") not in ALLOWED:
        report.outcome = "failed"
        report.longrepr = f"skipped: {reason}. Only what tests/skips.py allows may be skipped."
    return report
