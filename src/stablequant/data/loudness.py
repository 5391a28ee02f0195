"""Where a recording is silent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Seconds over which energy is averaged.
WINDOW = 0.02
#: Decibels below a recording's loud parts (its 95th percentile) from which a window counts as silence.
SILENCE = 30.0


def silent(waveform: NDArray[np.float32], sampling_rate: int) -> NDArray[np.bool_]:
    """Whether each `WINDOW` of a mono waveform ``[T]`` is silence ``[windows]``; the rest of a window counts as one."""
    width = max(1, int(WINDOW * sampling_rate))
    padded = np.pad(waveform.astype(np.float64), (0, -len(waveform) % width))
    level = 10 * np.log10(np.square(padded).reshape(-1, width).mean(1) + 1e-12)
    quiet: NDArray[np.bool_] = level < np.percentile(level, 95) - SILENCE
    return quiet
