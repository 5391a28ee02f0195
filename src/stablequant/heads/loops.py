"""A decoder that is caught in a loop says the same phrase over and over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: A phrase that comes so often in a row
TIMES = 4
#: and fills so many tokens in all is a loop: people count "one, one, one", and say little four times.
TOKENS = 16


def loops(tokens: Sequence[int]) -> bool:
    """Whether ``tokens`` hold a phrase `TIMES` times in a row, in `TOKENS` tokens or more.

    A stretch is a phrase of n tokens over and over if each of its tokens equals the one n places before.
    """
    ids = np.asarray(tokens, np.int64)
    for period in range(1, len(ids) // TIMES + 1):
        wanted = max(TIMES * period, TOKENS) - period
        differs = np.flatnonzero(ids[period:] != ids[:-period])
        ends = np.concatenate([[-1], differs, [len(ids) - period]])
        if (np.diff(ends) - 1).max() >= wanted:
            return True
    return False
