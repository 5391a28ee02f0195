"""The figures of one real run."""

from __future__ import annotations

from typing import Any

import pytest

from stablequant.jobs.evidence import Evidence
from stablequant.report.summary import summarise


@pytest.fixture(scope="module")
def summary(evidence: Evidence) -> dict[str, Any]:
    return summarise(evidence)
