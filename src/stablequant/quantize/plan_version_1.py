"""Plans of the first version as those of the second: sources were joined, weights had other words; settings find their groups."""

from __future__ import annotations

from typing import Any


def from_version_1(raw: dict[str, Any]) -> dict[str, Any]:
    """A plan of the first version, as it was read, as one of the second."""
    new = {**raw, "schema_version": 2}
    if isinstance(raw.get("data"), dict):
        new["data"] = {split: _sources(identity) for split, identity in raw["data"].items()}
    if isinstance(raw.get("layers"), list):
        new["layers"] = [_weight_words(layer) for layer in raw["layers"]]
    return new


def _sources(identity: Any) -> Any:
    if not isinstance(identity, dict) or not isinstance(identity.get("name"), str):
        return identity
    return {**{k: v for k, v in identity.items() if k != "name"}, "sources": identity["name"].split(", ")}


def _weight_words(layer: Any) -> Any:
    weight = layer.get("weight") if isinstance(layer, dict) else None
    if not isinstance(weight, dict):
        return layer
    words = {"granularity": "per", "method": "range"}
    return {**layer, "weight": {words.get(key, key): value for key, value in weight.items()}}
