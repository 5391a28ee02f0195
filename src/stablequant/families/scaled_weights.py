"""Weights times factors a channel, multiplied when they are asked for: a large folded model takes no second copy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stablequant.families.held_weights import SMALL, HeldWeights

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Scaling:
    """Factors of some neighbouring channels of a weight.

    Attributes:
        axis: Of the channels.
        factors: ``[C]``, above 0; multiplied in float32.
        start: The first channel.
        inverse: Whether the weight is divided by them.
    """

    axis: int
    factors: Tensor
    start: int = 0
    inverse: bool = False

    def of(self, weight: Tensor) -> Tensor:
        """A copy of ``weight`` with the factors."""
        import torch

        # First asked for in a pass without gradients, and kept for one with them.
        with torch.inference_mode(mode=False), torch.no_grad():
            made = weight.clone()
            part = made.narrow(self.axis, self.start, len(self.factors))
            factors = self.factors.float().reshape(-1, *(1,) * (weight.dim() - self.axis - 1))
            part.div_(factors) if self.inverse else part.mul_(factors)
        return made

    def identity(self) -> bytes:
        """What tells it from others."""
        return f"{self.axis}:{self.start}:{self.inverse}:".encode() + self.factors.float().numpy().tobytes()


class ScaledWeights(Mapping[str, "Tensor"]):
    """The weights of a graph, some of them others: put in the place of one, or the product of one and factors."""

    def __init__(self, base: Mapping[str, Tensor]) -> None:
        """Nothing differs from ``base`` yet, which stays as it is."""
        self._base = base
        self._own: dict[str, Tensor] = {}
        self._copied: dict[str, str] = {}
        self._scalings: dict[str, tuple[Scaling, ...]] = {}
        self._kept: dict[str, Tensor] = {}
        self._keeps = sum(weight.nbytes for weight in base.values()) <= SMALL

    def put(self, key: str, weight: Tensor) -> None:
        """Let ``weight`` be the one at ``key``."""
        self._forget(key)
        self._own[key] = weight

    def scale(self, key: str, scaling: Scaling, copied: str) -> None:
        """Multiply the weight at ``key``, which if there is none begins as that at ``copied``."""
        if key not in self:
            self._copied[key] = copied
        before = self._scalings.get(key, ())
        self._kept.pop(key, None)
        self._scalings[key] = (*before, scaling)

    def changed(self) -> Iterator[tuple[str, bytes, int]]:
        """Key, a hash of how it differs from the base, and how many more numbers it has than the base's, of each in order."""
        for key in sorted({*self._own, *self._copied, *self._scalings}):
            hashed = hashlib.sha256(self._copied.get(key, "").encode())
            if key in self._own:
                weight = self._own[key]
                hashed.update(f"{tuple(weight.shape)}:".encode() + weight.contiguous().numpy().tobytes())
            for scaling in self._scalings.get(key, ()):
                hashed.update(scaling.identity())
            more = 0
            if key in self._own or key in self._copied:
                more = self[key].numel() - (self._base[key].numel() if key in self._base else 0)
            yield key, hashed.digest(), more

    def __getitem__(self, key: str) -> Tensor:
        """The tensor, float32."""
        if key in self._kept:
            return self._kept[key]
        weight = self._own[key] if key in self._own else self._base[self._copied.get(key, key)]
        scalings = self._scalings.get(key, ())
        for scaling in scalings:
            weight = scaling.of(weight)
        if scalings and self._keeps:
            self._kept[key] = weight
        return weight

    def __contains__(self, key: object) -> bool:
        """Whether there is a weight of that key; none is read."""
        return key in self._own or key in self._copied or key in self._base

    def __iter__(self) -> Iterator[str]:
        """Their keys."""
        return iter(dict.fromkeys((*self._base, *self._own, *self._copied)))

    def __len__(self) -> int:
        """How many there are."""
        return sum(1 for _ in self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the tensors themselves: it may not have the checkpoint."""
        return dict, (dict(self),)

    def let_go(self) -> None:
        """Let go of products, and of the base's weights if they can be read again."""
        self._kept.clear()
        if isinstance(self._base, HeldWeights):
            self._base.let_go()

    def _forget(self, key: str) -> None:
        for known in (self._copied, self._scalings, self._kept):
            known.pop(key, None)
