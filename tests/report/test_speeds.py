"""The plot of a benchmark is an SVG file on its own: a bar a system, as long as its speed."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from stablequant.report.speeds import speeds

SVG = "{http://www.w3.org/2000/svg}"


def system(name: str, seconds: float, speedup: float) -> dict:
    return {
        "name": name,
        "seconds": seconds,
        "fastest": 0.9 * seconds,
        "slowest": 1.2 * seconds,
        "real_time_factor": seconds / 10,
        "speedup": speedup,
    }


RESULT = {
    "systems": [{"name": "float32, a", "int8": False}, {"name": "<out>, a", "int8": True}],
    "cases": [
        {
            "seconds": 10.0,
            "batch": 1,
            "threads": 2,
            "systems": [system("float32, a", 1.0, 1.0), system("<out>, a", 0.5, 2.0)],
        },
        {
            "seconds": "real",
            "batch": 8,
            "threads": 2,
            "systems": [system("float32, a", 3.0, 1.0), system("<out>, a", 6.0, 0.5)],
        },
    ],
}


def test_bars_are_as_long_as_speeds_and_coloured_by_kind() -> None:
    root = ElementTree.fromstring(speeds(RESULT))
    assert root.tag == f"{SVG}svg"
    bars = [(bar.get("class"), float(bar.get("width"))) for bar in root.iter(f"{SVG}rect")]
    assert [kind for kind, _ in bars] == ["float", "int8", "float", "int8"]
    (one, two, again, half) = (width for _, width in bars)
    assert two == pytest.approx(2 * one, rel=1e-3)
    assert again == one
    assert half == pytest.approx(one / 2, rel=1e-3)
    texts = ["".join(t.itertext()) for t in root.iter(f"{SVG}text")]
    assert "10 s, batch 1, threads 2" in texts
    assert "real recordings, batch 8, threads 2" in texts
    assert "<out>, a" in texts
    assert "0.50" in texts


def test_nothing_is_drawn_outside_of_the_picture() -> None:
    root = ElementTree.fromstring(speeds(RESULT))
    width, height = float(root.get("width")), float(root.get("height"))
    for line in root.iter(f"{SVG}line"):
        assert all(0 <= float(line.get(a)) <= width for a in ("x1", "x2"))
        assert all(0 <= float(line.get(a)) <= height for a in ("y1", "y2"))
