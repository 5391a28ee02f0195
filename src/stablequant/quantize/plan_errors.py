"""What is wrong in a plan, by layer and field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from stablequant.errors import SettingsError

#: Characters of a name that a message repeats.
_LONGEST_NAME = 200


def usable(make: Callable[[], object]) -> None:
    """Make a grid or a spec of what a plan says, and tell what it refuses as pydantic expects it.

    Raises:
        ValueError: It cannot be made.
    """
    try:
        make()
    except SettingsError as error:
        raise ValueError(str(error)) from error


def complaint(error: ValidationError, raw: Any) -> str:
    """The first thing that is wrong in a plan, with its layer's name and its field.

    Args:
        error: Of the plan's validation.
        raw: What was validated.
    """
    first = error.errors()[0]
    # Which kind of grid it is, is left out; a name that somebody put there may be of any length.
    kinds = ("static", "per_frame", "per_block", "float")
    place = [str(part)[:_LONGEST_NAME] for part in first["loc"] if part not in kinds]
    if place[:1] == ["layers"] and len(place) > 1 and isinstance(first["loc"][1], int):
        name = _name(raw["layers"][first["loc"][1]])
        place = [f"layer {name}", *place[2:]] if name else [".".join(place[:2]), *place[2:]]
    where = ", ".join([place[0], ".".join(place[1:])] if place[1:] else place) or "the plan"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where} is wrong ({message[:_LONGEST_NAME]})"


def _name(layer: Any) -> str:
    name = layer.get("name") if isinstance(layer, dict) else None
    return name[:_LONGEST_NAME] if isinstance(name, str) else ""
