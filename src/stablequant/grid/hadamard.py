"""Orthogonal matrices that spread every channel over all others.

A Hadamard matrix has entries +1 and -1 and orthogonal rows, so that, divided by the root of its order, it turns one large channel
into as many of equal magnitude: what lies far out in one channel no longer does in any (Ashkboos et al. 2024, QuaRot,
arXiv 2404.00456, section 3). Orders are made by Sylvester's doubling from those of Paley's two constructions over a prime field
(Paley 1933, "On orthogonal matrices"). Another order has the discrete cosine transform, whose entries are at most 1.42 times
as large.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def hadamard(order: int) -> torch.Tensor | None:
    """A Hadamard matrix of ``order`` with a first row of ones, float64; ``None`` where these constructions have none."""
    import torch

    doublings, rest = 0, order
    while (found := _first(rest)) is None and rest % 2 == 0:
        doublings, rest = doublings + 1, rest // 2
    if found is None:
        return None
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    for _ in range(doublings):
        found = torch.kron(pair, found)
    found *= found[0].clone()
    return found


def spreading(order: int) -> torch.Tensor:
    """An orthogonal matrix ``[order, order]`` with a constant first row, float64: Hadamard's, else the cosine transform's."""
    import torch

    found = hadamard(order)
    if found is not None:
        spread: torch.Tensor = found / math.sqrt(order)
        return spread
    steps = torch.arange(order, dtype=torch.float64)
    waves: torch.Tensor = torch.cos(torch.pi * (2 * steps + 1) * steps[:, None] / (2 * order)) * (2 / order) ** 0.5
    waves[0] = order**-0.5
    return waves


def random_rotation(order: int, seed: int, *, keeps_mean: bool = False) -> torch.Tensor:
    """An orthogonal matrix Q ``[order, order]``, float64: random signs D, then the spreading matrix S.

    Args:
        order: Channels.
        seed: Of the signs.
        keeps_mean: Whether the mean of channels is to stay what it is, as layer normalisation needs it: then ``Q = S^T D S``,
            with the sign of S's constant row left at +1, so that ``Q 1 = 1``. Otherwise ``Q = D S``, and of a Hadamard matrix
            all entries are equally large.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (order,), generator=generator).double() * 2 - 1
    spread = spreading(order)
    if not keeps_mean:
        return signs[:, None] * spread
    signs[0] = 1.0
    return spread.T @ (signs[:, None] * spread)


def _first(order: int) -> torch.Tensor | None:
    """Of order 1, or by Paley's first or second construction."""
    import torch

    if order == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    if order >= 4 and (order - 1) % 4 == 3 and _is_prime(order - 1):
        return torch.eye(order, dtype=torch.float64) + _bordered(order - 1, -1.0)
    field = order // 2 - 1
    if order % 2 == 0 and field % 4 == 1 and _is_prime(field):
        pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
        other = torch.tensor([[1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64)
        return torch.kron(_bordered(field, 1.0), pair) + torch.kron(torch.eye(field + 1, dtype=torch.float64), other)
    return None


def _bordered(prime: int, left: float) -> torch.Tensor:
    """Quadratic characters of differences ``[prime, prime]`` with a row of ones above and a column of ``left`` before them."""
    import torch

    characters = -torch.ones(prime, dtype=torch.float64)
    characters[torch.arange(1, prime) ** 2 % prime] = 1.0
    characters[0] = 0.0
    steps = torch.arange(prime)
    matrix = torch.zeros(prime + 1, prime + 1, dtype=torch.float64)
    matrix[1:, 1:] = characters[(steps[:, None] - steps) % prime]
    matrix[0, 1:], matrix[1:, 0] = 1.0, left
    return matrix


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
