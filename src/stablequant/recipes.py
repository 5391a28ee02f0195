"""Recipes: small named bundles of settings. A setting that is given beside a recipe wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stablequant.errors import SettingsError


@dataclass(frozen=True)
class Recipe:
    """A way to quantise.

    Attributes:
        name: On the command line.
        settings: Those that differ from the defaults.
        about: What it does, in one sentence.
    """

    name: str
    settings: Mapping[str, Any]
    about: str


#: The recipe of a run that names none.
DEFAULT = "default"

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            DEFAULT,
            {"strategy": "allocate", "objective": "divergence", "rounding": "gptq"},
            "For each layer the scheme that takes least time within a budget of divergence from float: a calibrated scale, or a "
            "scale a frame. Weights are rounded by GPTQ. Minutes, and no labels needed.",
        ),
        Recipe(
            "paper",
            {},
            "StableQuant as published: calibrated scales, stage 1 finds the sensitive layers, stage 2 clips their outliers.",
        ),
        Recipe(
            "fast",
            {"scales": "frame", "strategy": "none"},
            "A scale for each frame, computed when the layer runs; one pass over calibration speech, and no search.",
        ),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe called ``name``; SettingsError if there is none."""
    if name not in RECIPES:
        what = f"--recipe {name}"
        raise SettingsError(what, expected=f"one of {', '.join(RECIPES)}")
    return RECIPES[name]
