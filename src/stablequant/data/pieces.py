"""Cut long recordings at their quietest moments, for models that can only be given so much at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Seconds over which loudness is averaged where a cut is sought: a pause between words, not a closed lip.
PAUSE = 0.2
#: A piece is at least this share of the longest that is allowed, so that cuts are few.
SHORTEST = 0.5


def cut(waveform: NDArray[np.float32], sampling_rate: int, longest: float) -> list[NDArray[np.float32]]:
    """Pieces of a mono waveform ``[T]`` that together are all of it, none longer than ``longest`` seconds.

    Each cut lies in the middle of the quietest ``PAUSE`` seconds of the second half of what a piece may hold.

    Args:
        waveform: Mono samples.
        sampling_rate: Hertz.
        longest: Seconds in one piece at most; more than ``PAUSE``.
    """
    most, width = int(longest * sampling_rate), max(1, int(PAUSE * sampling_rate))
    pieces, start = [], 0
    while len(waveform) - start > most:
        first = start + int(SHORTEST * most)
        energy = np.cumsum(np.square(waveform[first : start + most], dtype=np.float64))
        quietest = int((energy[width:] - energy[:-width]).argmin())
        stop = first + quietest + width // 2
        pieces.append(waveform[start:stop])
        start = stop
    return [*pieces, waveform[start:]]
