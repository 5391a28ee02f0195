"""Numbers in the README and docs are those of bench/results, and links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


def test_every_table_is_made_from_the_measured_results() -> None:
    check = subprocess.run(
        [sys.executable, ROOT / "bench" / "readme.py", "--check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_local_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_files_named_in_backticks_exist(page: Path) -> None:
    for name in re.findall(
        r"`((?:src|tests|bench|docs|examples|models|search|quantize|export|calibrate)/[\w./-]+\.\w+)", page.read_text()
    ):
        inside = ROOT / "src" / "stablequant" / name
        assert (ROOT / name).exists() or inside.exists(), f"{page.name} names {name}"
