"""What the documents list is what the code has."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from stablequant.families.checkpoint import FAMILIES
from stablequant.families.unsupported import UNSUPPORTED
from stablequant.quantize.plan import Identity, LayerPlan, Plan, SpeechIdentity
from stablequant.quantize.plan_grids import ActivationPlan, BlockPlan, FramePlan, WeightPlan
from stablequant.report.summary import summarise
from stablequant.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def tables(name: str) -> list[list[list[str]]]:
    """The cells of a document's tables, without their headers."""
    blocks = re.findall(r"(?:^\|.*\n)+", (DOCS / name).read_text(), re.MULTILINE)
    return [[re.split(r"\s+\|\s+", line.strip("| ")) for line in block.splitlines()[2:]] for block in blocks]


def fields(table: list[list[str]]) -> list[str]:
    """The names in a table's first column; a cell may hold several."""
    return [name for row in table for name in re.findall(r"`([\w.]+)`", row[0])]


def test_settings_md_lists_every_setting_with_its_default():
    rows = [row for table in tables("settings.md") for row in table]
    defaults = Settings().flat()
    assert fields(rows) == list(defaults)
    for (_, default, meaning), value in zip(rows, defaults.values(), strict=True):
        assert default == str(value).lower().removesuffix(".0")
        assert len(meaning) > 10


def test_plan_md_explains_every_field():
    top, layer = tables("plan.md")
    assert fields(top) == list(Plan.model_fields)
    assert fields(layer) == list(LayerPlan.model_fields)
    rows = {fields([row])[0]: row[1] for row in (*top, *layer)}
    parts = [("model", Identity), ("data", SpeechIdentity), ("weight", WeightPlan)]
    for row, model in [*parts, *(("activations", model) for model in (ActivationPlan, FramePlan, BlockPlan))]:
        assert set(model.model_fields) <= set(re.findall(r"`(\w+)`", rows[row]))
    for model in (ActivationPlan, FramePlan, BlockPlan):
        assert f"`{model.model_fields['kind'].default}`" in rows["activations"]


def keys(value: Mapping[str, object]) -> Iterator[str]:
    """Every key of the summary, but for ids of recordings and names of packages."""
    for key, inner in value.items():
        yield key
        if isinstance(inner, Mapping) and key not in ("skipped", "versions"):
            yield from keys(inner)


def test_summary_md_explains_every_field(evidence):
    summary = json.loads(json.dumps(summarise(evidence)))
    top, file = tables("summary.md")
    assert set(fields(top)) == set(summary)
    assert set(fields(file)) <= set(summary["int8_file"])
    text = (DOCS / "summary.md").read_text()
    assert [key for key in keys(summary) if not re.search(rf"\b{key}\b", text)] == []


def test_models_md_lists_every_class():
    supported, *_, not_supported = tables("models.md")  # between them, what large models take
    assert set(fields(supported)) == set(FAMILIES)
    assert {fields([row])[0]: row[1] for row in not_supported} == UNSUPPORTED
    readme = (ROOT / "README.md").read_text()
    assert [name for name in FAMILIES if f"`{name}`" not in readme] == []


CASES = [row for table in tables("errors.md") for row in table]


@pytest.mark.parametrize(("case", "message", "test"), CASES, ids=[row[0] for row in CASES])
def test_errors_md_quotes_the_code_and_names_a_test_that_is_there(case, message, test):
    path, name = test.split("::")
    assert f"def {name}(" in (ROOT / "tests" / path).read_text()
    # Literals as they are, whatever the lines they are split over; code may join a message's parts.
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    quoted = re.findall(r"`([^`]+)`", message)
    assert quoted or message == "the usage of the command"
    for part in quoted:
        for words in re.split(r"\{[^}]*\}|\.? ?\b(?:Expected|Fix:) |\.$|[:;,] ", part):
            assert words.strip() in source, f"{case}: {words!r} is not what the code says"
