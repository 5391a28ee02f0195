"""Schemas: every file of a real run is of its form, every command has one, and what is not of it is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stablequant.cli.app import app
from stablequant.errors import DataError, SettingsError
from stablequant.report.results import read_result
from stablequant.report.schema import OUTPUTS, schema

DOCS = Path(__file__).parents[2] / "docs"


def wrong(name: str, found: Any) -> list[str]:
    """What an independent reader of the schema says."""
    return [error.message for error in Draft202012Validator(schema(name)).iter_errors(found)]


@pytest.mark.parametrize("name", OUTPUTS)
def test_schemas_are_schemas(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["description"]


@pytest.mark.parametrize("name", ["plan", "summary", "manifest"])
def test_files_of_a_run_are_of_their_form(finished: Path, name: str) -> None:
    found = json.loads((finished / f"{name}.json").read_text())
    assert wrong(name, found) == []
    assert wrong(name, {key: value for key, value in found.items() if key != "schema_version"} | {"x": 1}) != []


def test_every_line_of_utterances_is_of_its_form(finished: Path) -> None:
    lines = (finished / "utterances.jsonl").read_text().splitlines()
    assert len(lines) == 5
    assert [wrong("utterances", json.loads(line)) for line in lines] == [[]] * 5


def test_every_command_with_json_has_a_schema(cli) -> None:
    commands = {str(c.name or c.callback.__name__): c.callback for c in app.registered_commands if c.callback}
    assert {name for name, run in commands.items() if "json" in run.__annotations__} <= set(OUTPUTS)
    listed = cli("schema", "--json")
    assert [row["name"] for row in json.loads(listed.out)["schemas"]] == list(OUTPUTS)
    printed = cli("schema", "trials")
    assert json.loads(printed.out) == schema("trials")
    assert "summary.json, and what" in cli("schema").out
    ran = cli("schema", "nothing")
    assert (ran.code, "there is no schema 'nothing'" in ran.err) == (2, True)
    with pytest.raises(SettingsError):
        schema("nothing")


def test_summary_md_explains_what_the_schemas_have() -> None:
    text = (DOCS / "summary.md").read_text()
    for name in ("summary", "utterances"):
        found = schema(name)
        fields = {field for part in (found, *found.get("$defs", {}).values()) for field in part["properties"]}
        assert [field for field in sorted(fields) if not re.search(rf"\b{field}\b", text)] == []


def test_json_of_no_known_form_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    path.write_text('{"covered": "perhaps", "activations": [], "limits": {}}')
    with pytest.raises(DataError, match="as of drift: ") as refused:
        read_result(path)
    assert "Expected what --json of evaluate, clipped, drift prints." in str(refused.value)
    path.write_text("[1")
    with pytest.raises(DataError, match="cannot be read"):
        read_result(path)
