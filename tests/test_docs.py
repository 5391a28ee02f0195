"""Numbers in the README and docs are those of bench/results, and links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stablequant.config import Settings
from stablequant.pipeline import Evidence
from stablequant.report.summary import summarise

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


def test_the_settings_page_lists_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    written = {
        name: str(d).lower() if isinstance(d, bool) else f"{d:g}" if isinstance(d, float) else str(d)
        for name, d in defaults.items()
    }
    assert rows == written


def test_the_plan_page_names_every_field(evidence: Evidence) -> None:
    page = (ROOT / "docs" / "plan.md").read_text()
    plan = evidence.plan.model_dump(mode="json")
    layer = plan["layers"][0]
    for field in (*plan, *layer, *layer["activations"][0], *layer["weight"], *plan["model"]):
        assert f"`{field}`" in page, field


def test_the_summary_page_names_every_field(evidence: Evidence) -> None:
    page = (ROOT / "docs" / "summary.md").read_text()
    summary = summarise(evidence)
    for field in (*summary, *summary["float"], *summary["int8_file"], *summary["model"]):
        assert f"`{field}`" in page, field
