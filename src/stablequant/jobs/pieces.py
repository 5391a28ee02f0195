"""How long audio is cut for a model, by what it copes with and by the memory that is there; and its pieces' answers as one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from stablequant.families.family import Bounds
from stablequant.heads.head import Answer, joined
from stablequant.measure.memory import available
from stablequant.settings import DataSettings

#: Of the memory that is available: the rest is for audio, for what else runs, and for what the estimate leaves out.
SHARE = 0.5


class Lengths(NamedTuple):
    """Seconds that one piece of a recording may have, and that all of a batch may have with padding."""

    piece: float
    batch: float


def lengths(bounds: Bounds, data: DataSettings, memory: float | None = None) -> Lengths:
    """What a model with these ``bounds`` is given at a time.

    Args:
        bounds: Of the model.
        data: Their ``batch_seconds`` is not exceeded.
        memory: Bytes that are available; default: those that are now.
    """
    fitting = bounds.fitting(SHARE * (available() if memory is None else memory))
    return Lengths(min(bounds.longest, fitting), min(data.batch_seconds, fitting))


def whole(answers: Sequence[Answer], owners: Sequence[int]) -> tuple[Answer, ...]:
    """Answers to recordings, of those to their pieces: of each the index of its recording, ascending."""
    pairs = zip(owners, answers, strict=True)
    return tuple(joined([answer for _, answer in group]) for _, group in groupby(pairs, key=itemgetter(0)))
