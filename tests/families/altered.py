"""Copies of the real models, altered in one respect, and what loading them says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from support import GRAFT
from torch import Tensor

from stablequant.errors import ModelError
from stablequant.families.checkpoint import load


def copy(folder: Path, source: Path = GRAFT, without: tuple[str, ...] = ()) -> Path:
    return Path(shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*without)))


def edit(path: Path, *gone: str, **values: Any) -> Path:
    """Set values of a JSON object, and take keys away; returns the folder."""
    old = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in (old | values).items() if k not in gone}))
    return path.parent


def reweigh(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> Path:
    """Let ``change`` alter the weights of a folder."""
    weights = load_file(folder / "model.safetensors")
    # Out of the mapped file, which is written over.
    weights = {name: weight.clone() for name, weight in weights.items()}
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def refusal(folder: str | Path) -> str:
    """What loading says; every refusal tells what to do."""
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert "Expected" in str(caught.value) or "Fix:" in str(caught.value)
    return str(caught.value)
