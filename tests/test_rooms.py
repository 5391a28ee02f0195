"""The house's plan, held: a module imports from its own room and from rooms before it, never from one behind."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "stablequant"

#: In the order data flows; docs/architecture.md says what each is for.
ROOMS = (
    "errors widths settings recipes files memory progress processes grid data network heads families tasks observe quantize "
    "training runtime search export measure jobs report library cli"
).split()

MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def room(parts):
    return parts[0].removesuffix(".py")


def imported_rooms(source):
    """Rooms that a module imports from, wherever in it the import stands, with the line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "stablequant":
            names = [f"stablequant.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            names = [str(node.module)]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            if top == "stablequant" and not rest.startswith("__"):
                yield node.lineno, rest.split(".")[0]


def arrows_back(source, own):
    return [(line, other) for line, other in imported_rooms(source) if ROOMS.index(other) > ROOMS.index(own)]


def test_every_module_is_in_a_room():
    assert {room(path.parts) for path in MODULES} == set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_arrow_points_back(path):
    assert arrows_back((SOURCE / path).read_text(), room(path.parts)) == []


def test_an_arrow_back_would_be_seen():
    source = "from stablequant.errors import DataError\ndef f():\n    from stablequant.search import trials\n"
    assert arrows_back(source, "data") == [(3, "search")]
    assert arrows_back("import stablequant.cli.main\n", "jobs") == [(1, "cli")]
    assert arrows_back("from stablequant import __version__, report\n", "export") == [(1, "report")]


def imported_files(path):
    """Modules of this package that a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse((SOURCE / path).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stablequant"):
            base = node.module.removeprefix("stablequant").strip(".")
            yield from (f"{base}.{alias.name}".strip(".") for alias in node.names)
            yield base


def test_no_file_is_in_a_circle():
    files = {".".join(path.with_suffix("").parts): path for path in MODULES if path.name != "__init__.py"}
    arrows = {
        name: {other for other in imported_files(path) if other in files} - {name} for name, path in files.items()
    }

    def reached(start):
        seen, waiting = set(), [start]
        while waiting:
            new = arrows[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen

    assert [name for name in files if name in reached(name)] == []


def test_files_are_short():
    long = {str(p): n for p in MODULES if (n := len((SOURCE / p).read_text().splitlines())) > 300}
    assert long == {}
