"""What a fold made of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stablequant.families.model import SpeechModel
from stablequant.quantize.folding.rewriting import Rewriting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Folded:
    """A model that computes what it did, and the layers whose inputs are others now.

    Attributes:
        model: Its notes tell what was left alone.
        layers: That read changed inputs.
        left: Layer -> why nothing could be folded there.
        factors: Of each site, by the first layer that reads it ``[C]``; empty where a fold is no matter of factors.
    """

    model: SpeechModel
    layers: tuple[str, ...]
    left: Mapping[str, str]
    factors: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        method: str,
        work: Rewriting,
        layers: Sequence[str],
        left: Mapping[str, str],
        *notes: str,
        factors: Mapping[str, Tensor] | None = None,
    ) -> Folded:
        """From a rewriting that is done; ``notes`` are further sentences for the user."""
        left = {name: reason for name, reason in left.items() if name not in layers}
        told = f"fold {method}: {len(layers)} layers read other inputs, {len(left)} are left alone"
        told += "".join(f"; {', '.join(names)}: {reason}" for reason, names in _by_reason(left).items())
        return cls(work.model((told, *notes)), tuple(layers), left, factors or {})


def _by_reason(left: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, reason in left.items():
        found.setdefault(reason, []).append(name)
    return found
