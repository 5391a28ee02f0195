"""Fidelity: how far a model's outputs are from those of the float model. It needs no labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.tasks.score import Score


@dataclass(frozen=True)
class Divergence:
    """The divergence of one utterance: nats in all, and the steps (tokens or frames) that they are summed over."""

    nats: float
    steps: int


def divergence(reference: NDArray[np.floating], found: NDArray[np.floating]) -> Divergence:
    """Kullback-Leibler divergence KL(reference || found), summed over steps.

    ``sum_v p(v) (log p(v) - log q(v))`` with p and q the softmax of the logits (Kullback and Leibler 1951).

    Args:
        reference: Logits ``[steps, V]`` of the float model.
        found: Logits ``[steps, V]`` of the model that is judged.
    """
    p, q = _log_softmax(reference), _log_softmax(found)
    nats = float(np.sum(np.exp(p) * (p - q)))
    return Divergence(max(0.0, nats) if nats == nats else float("inf"), len(reference))


def divergence_score(ids: Sequence[str], found: Sequence[Divergence]) -> Score:
    """Mean divergence a step, in nats."""
    nats, steps = tuple(d.nats for d in found), tuple(float(d.steps) for d in found)
    return Score("KL", tuple(ids), nats, steps, grain=0.0, factor=1.0)


def standard_error(score: Score) -> float | None:
    """Of a score's rate: that of a ratio of sums over utterances, which are drawn independently.

    ``sqrt(n / (n - 1) sum_i (e_i - r u_i)^2) / sum_i u_i`` with errors e, units u and their ratio r, times the factor
    (linearised variance of a ratio; Cochran 1977, Sampling Techniques, 6.4). One utterance has none.
    """
    count = len(score.ids)
    if count < 2:
        return None
    errors, units = np.asarray(score.errors), np.asarray(score.units)
    left = errors - errors.sum() / units.sum() * units
    return float(score.factor * np.sqrt(count / (count - 1) * np.sum(left**2)) / units.sum())


def figures(score: Score) -> dict[str, Any]:
    """Mean divergence in nats a step, and its standard error, as JSON holds them."""
    error = standard_error(score)
    return {
        "divergence": float(f"{score.rate:.4g}"),
        "divergence_error": None if error is None else float(f"{error:.4g}"),
    }


def _log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return result
