"""How far what a system computes is from float on the same input: a speed says something of what is computed right alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: A share of float's logits from which on an output has nothing to do with them: zeros are off by 1.
UNRELATED = 0.5
#: Less than this share of what float's logits change from frame to frame is no change. Models with random weights may change
#: little, and less than int8 moves them: so that change is no measure of how far an output may be off.
CONSTANT = 0.01


def compared(found: NDArray[np.floating], reference: NDArray[np.floating]) -> dict[str, Any]:
    """The difference of ``found`` from ``reference``, logits [B, T, V] both, and in words what is wrong if they are unrelated.

    Args:
        found: Of a system; frames behind the reference's, which are padding, do not count.
        reference: Of float.

    Returns:
        ``difference``: its root mean square as a share of float's; None where there is none. ``wrong``: why the output has
        nothing to do with float's; left out where it has.
    """
    frames = reference.shape[1]
    if found.shape[1] < frames or found[:, :frames].shape != reference.shape:
        return {"difference": None, "wrong": f"{found.shape[1]} of {frames} frames"}
    found, reference = found[:, :frames].astype(np.float64), reference.astype(np.float64)
    if not np.isfinite(found).all():
        return {"difference": None, "wrong": "not finite"}
    difference = float(np.sqrt(np.mean((found - reference) ** 2) / np.mean(reference**2)))
    result: dict[str, Any] = {"difference": round(difference, 4)}
    if _change(found) < CONSTANT * _change(reference):
        result["wrong"] = "the same in every frame"
    elif difference > UNRELATED:
        result["wrong"] = f"{difference:.0%} off"
    return result


def _change(logits: NDArray[np.floating]) -> float:
    """Root mean square of what logits change from frame to frame."""
    return float(np.sqrt(np.mean((logits - logits.mean(axis=1, keepdims=True)) ** 2)))
