"""Cut long recordings at their quietest moments, for models that can only be given so much at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Seconds over which loudness is averaged where a cut is sought: a pause between words, not a closed lip.
PAUSE = 0.2
#: A piece is at least this share of the longest that is allowed, so that cuts are few.
SHORTEST = 0.5


class Piece(NamedTuple):
    """A part of a recording: mono samples ``[T]``, and where it begins, in seconds from the recording's beginning."""

    samples: NDArray[np.float32]
    start: float


def cut(blocks: Iterable[NDArray[np.float32]], sampling_rate: int, longest: float) -> Iterator[Piece]:
    """Pieces of a recording that together are all of it, none longer than ``longest`` seconds, as its blocks arrive.

    Each cut lies in the middle of the quietest ``PAUSE`` seconds of the second half of what a piece may hold. No more is
    held than one piece and one block, and where a recording is cut does not depend on its blocks.

    Args:
        blocks: Mono samples ``[T]`` each, one after another; of a waveform that is at hand, that one.
        sampling_rate: Hertz.
        longest: Seconds in one piece at most; more than ``2 * PAUSE``.
    """
    most = int(longest * sampling_rate)
    held, begun = np.zeros(0, np.float32), 0
    for block in blocks:
        held = np.concatenate([held, block]) if len(held) else block
        while len(held) > most:
            stop = _quietest(held[:most], sampling_rate)
            yield Piece(held[:stop], begun / sampling_rate)
            held, begun = held[stop:], begun + stop
    yield Piece(held, begun / sampling_rate)


def _quietest(samples: NDArray[np.float32], sampling_rate: int) -> int:
    """Where to cut."""
    first, width = int(SHORTEST * len(samples)), max(1, int(PAUSE * sampling_rate))
    energy = np.cumsum(np.square(samples[first:], dtype=np.float64))
    return first + int((energy[width:] - energy[:-width]).argmin()) + width // 2
