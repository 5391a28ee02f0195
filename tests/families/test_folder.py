"""A model's name is a path or a hub id; a name that is neither is told with both readings."""

from __future__ import annotations

from pathlib import Path

import pytest
from altered import refusal
from support import GRAFT

from stablequant.families.folder import model_folder


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def test_the_home_folder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(GRAFT.parent))
    assert model_folder("~/wavlm-graft") == GRAFT


def test_a_folder_goes_before_a_hub_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert model_folder("models/mine") == Path("models/mine")


@pytest.mark.parametrize("name", ["models/typo", "facebook/hubert-large-ls960-ft"])
def test_what_may_be_both_is_told_with_both_readings_in_one_line(name: str) -> None:
    message = refusal(name)
    assert (
        f"{name} is no folder here, and no model that could be fetched from the hub (the hub cannot be reached"
        in message
    )
    assert "check the spelling of the path or of the id" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "name",
    [
        "my models/x",
        "nowhere",
        "/no/where",
        "./no/where",
        "a/b/c",
        "a/b.git",
        "~/nowhere",
        "ä/ö",
        "~nobody-has-this-name/x",
        "C:\\x",
    ],
)
def test_what_can_be_no_id_is_no_folder(name: str) -> None:
    message = refusal(name)
    assert "a model folder or a hub id" in message
    assert "fetched" not in message


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "/" + "x" * 300, "\udcff"])
def test_what_can_be_no_path_is_told(name: str) -> None:
    assert len(refusal(name)) < 500


def test_a_file_is_not_a_folder() -> None:
    assert "config.json is not a folder" in refusal(GRAFT / "config.json")
