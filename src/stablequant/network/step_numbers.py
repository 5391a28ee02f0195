"""Logits that keep their gradients: a head takes what it fetches for arrays, which have none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class StepNumbers:
    """The `get` of a backend that hands out, in place of logits, the number of the step that each was computed for.

    A head picks the valid ones of these as it does of logits, and `at` finds the logits of those that it picked.

    Attributes:
        logits: ``[B, T, V]``, as the head fetched them; nothing before it did.
    """

    logits: Tensor

    def get(self, array: Tensor) -> NDArray[Any]:
        """As an array; logits, the one fetched output that has a gradient, as the numbers of their steps ``[B, T, 1]``."""
        if array.requires_grad:
            self.logits = array
            return np.arange(array.shape[0] * array.shape[1]).reshape(*array.shape[:2], 1)
        result: NDArray[Any] = array.detach().cpu().numpy()
        return result

    def at(self, numbers: Sequence[NDArray[Any]]) -> list[Tensor]:
        """The logits ``[steps, V]`` of each utterance, of which a head picked the ``numbers`` ``[steps, 1]``."""
        flat = self.logits.flatten(0, 1)
        return [flat[torch.from_numpy(part[:, 0].astype(np.int64)).to(flat.device)] for part in numbers]
