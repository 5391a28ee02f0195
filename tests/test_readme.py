"""Numbers in the README and docs are those of bench/results, and links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
#: Where a file that a page names in backticks may be: at the top of the repository, or in a room of the source.
PLACES = ("src", "tests", "bench", "docs", *(p.name for p in (ROOT / "src" / "stablequant").iterdir() if p.is_dir()))


def test_every_table_is_made_from_the_measured_results() -> None:
    command = [sys.executable, ROOT / "bench" / "readme.py", "--check"]
    check = subprocess.run(command, capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_local_links_and_files_named_in_backticks_exist(page: Path) -> None:
    # What is to come (docs/architecture.md) names files that are not there yet.
    text = page.read_text().partition("## What the next things would touch")[0]
    links = [page.parent / t for t in re.findall(r"\]\(([^)#\s]+)", text) if not t.startswith("http")]
    named = re.findall(rf"`((?:{'|'.join(PLACES)})/[\w./-]+\.\w+)[`:]", text)
    for target in links:
        assert target.exists(), f"{page.name} links to {target}"
    for name in named:
        places = (ROOT / name, ROOT / "src" / "stablequant" / name)
        assert any(p.exists() for p in places), f"{page.name} names {name}"
