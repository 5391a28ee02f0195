"""Data flows one way through the rooms: a module imports from its own room or from those before it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "stablequant"
ROOMS = (
    "__init__ errors config files affine data models observe calibrate quantize evaluate search runtime export "
    "pipeline report serve cli"
).split()
MODULES = sorted(SOURCE.rglob("*.py"))


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_import_goes_back_up(path: Path) -> None:
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stablequant"):
            names = [f"{node.module}.{a.name}" if node.module == "stablequant" else node.module for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.startswith("stablequant")]
        for name in filter(None, names):
            other = room(name) if room(name) in ROOMS else "__init__"
            assert ROOMS.index(other) <= ROOMS.index(own), f"{own} imports {name}, which comes after it"


def test_every_module_is_in_a_room() -> None:
    assert {p.relative_to(SOURCE).parts[0].removesuffix(".py") for p in MODULES} <= set(ROOMS)
