"""The drawing of other budgets, read back, and its place on the page."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from stablequant.jobs.evidence import Evidence
from stablequant.report import page as pages
from stablequant.report.budgets import frontier
from stablequant.report.material import Material

ROWS = [
    {"bytes_ratio": 0.16, "estimate": 0.02, "chosen": False},
    {"bytes_ratio": 0.2, "estimate": 0.01, "chosen": True},
    {"bytes_ratio": 0.24, "estimate": 0.004, "chosen": False},
]


def test_each_budget_is_a_dot_in_its_place_and_the_choice_stands_out() -> None:
    drawn = ElementTree.fromstring(str(frontier(ROWS, height=100)))
    dots = {float(e.get("cx", "")[:-1]): e for e in drawn.iter("circle")}
    assert sorted(dots) == [0, 50, 100]
    heights = [100 - float(dots[x].get("cy", "")) for x in sorted(dots)]
    assert heights == pytest.approx([100 / 1.08, 50 / 1.08, 20 / 1.08], abs=0.01)
    assert [x for x, dot in dots.items() if "accent" in dot.get("class", "")] == [50]
    titles = ["".join(e.itertext()) for e in drawn.iter("title")]
    assert "24.0 % of the bytes: 0.004 nats a step" in titles
    (named,) = (e.text for e in drawn.iter("text") if e.get("class") == "chosen")
    assert named == "20.0 % of the bytes: 0.01 nats a step"
    assert str(drawn.get("aria-label")).endswith(f"chosen: {named}")


def test_the_page_draws_it_where_widths_had_a_budget_and_nowhere_else(
    evidence: Evidence, summary: dict[str, Any]
) -> None:
    allocation = {"schemes": {}, "allowance": 0.0, "within": "a budget", "divergence": 0.01}
    allocation |= {"divergence_most_accurate": 0.003}
    shown = [
        pages.page(Material.of(evidence, {**summary, "allocation": allocation | more}))
        for more in ({"budgets": ROWS}, {"budgets": []}, {})
    ]
    assert ["What other budgets would have given" in page for page in shown] == [True, False, False]
