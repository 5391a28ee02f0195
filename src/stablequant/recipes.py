"""Recipes: small named bundles of settings. A setting that is given beside a recipe wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stablequant.errors import SettingsError
from stablequant.settings import Settings, resolve


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


#: The recipe of a run that names none, nor anything of the stages,
DEFAULT = "default"
#: and of one that does the latter.
PAPER = "paper"
#: Settings of the two stages.
STAGED = (
    "activations.planes",
    "search.gamma",
    "search.beyond_chance",
    "search.stage1_calibrator",
    "search.p_max",
    "search.p_step",
    "search.p_spacing",
    "search.p_per_layer",
    "search.max_drop",
    "search.max_drop_by",
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            DEFAULT,
            {"strategy": "allocate", "objective": "divergence", "rounding": "gptq", "fold": "smooth"},
            "For each layer the scheme that takes least time within a budget of divergence from float: a calibrated scale, or a "
            "scale a frame. Channels are smoothed first, and weights rounded by GPTQ. Minutes, and no labels needed.",
        ),
        Recipe(
            PAPER,
            {},
            "StableQuant as published: calibrated scales, stage 1 finds the sensitive layers, stage 2 clips their outliers.",
        ),
        Recipe(
            "fast",
            {"scales": "frame", "strategy": "none", "fold": "smooth"},
            "A scale for each frame, computed when the layer runs, behind smoothed channels; no search.",
        ),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe called ``name``; SettingsError if there is none."""
    if name not in RECIPES:
        what = f"--recipe {name}"
        raise SettingsError(what, expected=f"one of {', '.join(RECIPES)}")
    return RECIPES[name]


def recipe_for(given: Mapping[str, Any], name: str | None = None) -> Recipe:
    """The recipe called ``name``; without a name the one that goes with the settings ``given``.

    Settings of the stages, or a strategy that has them, ask for the paper's: no other recipe would read them.

    Raises:
        SettingsError: There is no such recipe or setting, or a value is impossible.
    """
    if name is not None:
        return recipe(name)
    chosen, usual = Settings.parse(given).flat(), Settings().flat()
    named = {full for setting, value in given.items() for full in _names(setting, value)}
    staged = any(chosen[setting] != usual[setting] or setting in named for setting in STAGED)
    explicit = "search.strategy" in named and chosen["search.strategy"] in ("exact", "racing")
    return recipe(PAPER if staged or explicit else DEFAULT)


def _names(setting: str, value: Any) -> Sequence[str]:
    """The settings that are given by ``setting``, which may be a group of them."""
    return [f"{setting}.{name}" for name in value] if isinstance(value, Mapping) else resolve(setting)
