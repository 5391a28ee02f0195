"""Which frames of a recording say which token: from the best path of CTC, or from a decoder's attention to the encoder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.int64]


def spikes(ids: Frames, blank: int) -> tuple[Frames, Frames]:
    """First and last frame ``[tokens]`` of each token on a path ``ids`` ``[frames]``, repeats merged, blanks dropped."""
    first = np.flatnonzero(np.diff(ids, prepend=-1))
    last = np.append(first[1:], len(ids)) - 1
    kept = ids[first] != blank
    return first[kept], last[kept]


def warped(attention: NDArray[np.floating]) -> tuple[Frames, Frames]:
    """First and last frame ``[tokens]`` of each token on the monotone path of most attention ``[tokens, frames]``.

    Dynamic time warping over attention that is standardised by frame, so that a frame which all tokens attend to counts for
    none, as the time stamps of openai/whisper are found. Every token has a frame of its own where there are as many frames.
    """
    tokens, frames = attention.shape
    stretch = -(-tokens // frames)  # where there are more tokens than frames, several share one
    attention = np.repeat(attention, stretch, axis=1)
    gain = (attention - attention.mean(0)) / np.maximum(attention.std(0), 1e-12)
    total = np.full(tokens + 1, -np.inf)  # of the best path on which the last token so far is this one
    total[0] = 0.0
    moves = np.zeros((gain.shape[1], tokens), bool)
    for frame in range(gain.shape[1]):
        moves[frame] = total[:-1] >= total[1:]
        total[1:] = gain[:, frame] + np.maximum(total[:-1], total[1:])
        total[0] = -np.inf
    first, last = np.zeros(tokens, np.int64), np.zeros(tokens, np.int64)
    frame = gain.shape[1] - 1
    for token in reversed(range(tokens)):
        last[token] = frame
        while not moves[frame, token]:
            frame -= 1
        first[token] = frame
        frame -= 1
    return first // stretch, last // stretch


def between(first: Frames, last: Frames, frames: int) -> NDArray[np.float64]:
    """Ends of the tokens' spans ``[tokens + 1]`` as shares of all ``frames``, each halfway between two tokens."""
    middle = (last[:-1] + first[1:] + 1) / 2
    return np.concatenate(([0.0], middle / frames, [1.0]))
