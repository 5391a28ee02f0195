"""Widths of weights and activations in one word: ``w4a8``, ``4g32``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stablequant.errors import SettingsError

#: What both widths may be called: those of weights (with ``g``, how many share a scale) and of activations (16: float).
WIDTHS = {
    "w8a8": ("8", "8"),
    "w6a6": ("6g32", "6"),
    "w5a8": ("5g32", "8"),
    "w4a8": ("4g32", "8"),
    "w4a4": ("4g32", "4"),
    "w4a16": ("4g32", "16"),
}
_WIDTH = re.compile(r"(?P<bits>\d{1,2})(g(?P<group>\d{1,4}))?")


def in_words(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``values`` without the widths that are written in one word, and the settings that those stand for.

    ``bits=w4a8``, ``weights=4g32`` and ``activations=8`` are such; of the first and the others, the others hold.

    Raises:
        SettingsError: A word is no width.
    """
    rest, words = dict(values), {}
    both = rest.get("bits")
    if isinstance(both, str) and not both.isdigit():
        if both.lower() not in WIDTHS:
            what = f"setting bits is {both[:40]!r}"
            raise SettingsError(what, expected=f"a number, or one of {', '.join(WIDTHS)}")
        words = dict(zip(("weights", "activations"), WIDTHS[both.lower()], strict=True))
        del rest["bits"]
    for group in ("weights", "activations"):
        if isinstance(rest.get(group), str | int):
            words[group] = str(rest.pop(group))
    found: dict[str, Any] = {}
    for group, word in words.items():
        found |= _width(group, word)
    return rest, found


def _width(group: str, word: str) -> dict[str, Any]:
    """The settings that one width stands for."""
    parts = _WIDTH.fullmatch(word)
    if parts is None or (parts["group"] and group == "activations"):
        form = "bits, such as 8" + (", or bits and how many weights share a scale, such as 4g32" * (group == "weights"))
        what = f"setting {group} is {word[:40]!r}"
        raise SettingsError(what, expected=form)
    bits = {f"{group}.bits": int(parts["bits"])}
    return bits if group == "activations" else bits | {"weights.group": int(parts["group"]) if parts["group"] else None}
