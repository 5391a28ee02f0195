"""What a fold made of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stablequant.families.model import SpeechModel
from stablequant.quantize.folding.rewriting import Rewriting


@dataclass(frozen=True)
class Folded:
    """A model that computes what it did, and the layers whose inputs are others now.

    Attributes:
        model: Its notes tell what was left alone.
        layers: That read changed inputs.
        left: Layer -> why nothing could be folded there.
    """

    model: SpeechModel
    layers: tuple[str, ...]
    left: Mapping[str, str]

    @classmethod
    def of(cls, method: str, work: Rewriting, layers: Sequence[str], left: Mapping[str, str], *notes: str) -> Folded:
        """From a rewriting that is done; ``notes`` are further sentences for the user."""
        left = {name: reason for name, reason in left.items() if name not in layers}
        told = f"fold {method}: {len(layers)} layers read other inputs, {len(left)} are left alone"
        told += "".join(f"; {', '.join(names)}: {reason}" for reason, names in _by_reason(left).items())
        return cls(work.model((told, *notes)), tuple(layers), left)


def _by_reason(left: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, reason in left.items():
        found.setdefault(reason, []).append(name)
    return found
