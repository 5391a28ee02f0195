"""How loud a recording is, and how far its speech stands out from what is heard in its pauses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Seconds over which energy is averaged.
FRAME = 0.02
#: Decibels below the loudest frame: what is quieter is a pause.
PAUSE = 40.0
#: Share of frames, the quietest, that are taken for what is heard in pauses,
FLOOR_SHARE = 0.1
#: which says something from so many frames on.
FEWEST_FRAMES = 25


def rms(samples: NDArray[Any]) -> float:
    """Root mean square of samples ``[T]``; 0 where there are none."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def speech_level(samples: NDArray[Any], rate: int) -> float:
    """RMS of speech ``[T]`` without its pauses, frames more than ``PAUSE`` dB below the loudest; 0 of silence.

    The idea of ITU-T P.56 (active speech level) with a threshold relative to the recording.
    """
    energies = _energies(samples, rate)
    if not len(energies):
        return 0.0
    return float(np.sqrt(np.mean(energies[energies >= energies.max() * 10 ** (-PAUSE / 10)])))


def signal_to_noise(samples: NDArray[Any], rate: int) -> float | None:
    """Decibels by which the speech stands out from the recording's quietest tenth; ``None`` where that cannot be said.

    It cannot where the recording is too short, or its pauses are digital silence. A recording without pauses has a small value.
    """
    energies = np.sort(_energies(samples, rate))
    if len(energies) < FEWEST_FRAMES:
        return None
    floor = float(np.mean(energies[: max(1, int(FLOOR_SHARE * len(energies)))]))
    if floor < 2.0**-30:  # one step of 16 bits
        return None
    # Louder than half way, in decibels, from the floor to the loudest frame is speech.
    speech = float(np.mean(energies[energies >= np.sqrt(floor * energies[-1])])) - floor
    return float(10 * np.log10(max(speech, floor * 1e-3) / floor))


def _energies(samples: NDArray[Any], rate: int) -> NDArray[np.float64]:
    """Mean square of each frame; a last one that is not whole is left out, unless it is the only one."""
    width = min(max(1, int(FRAME * rate)), len(samples))
    if not width:
        return np.zeros(0)
    whole = np.asarray(samples[: len(samples) // width * width], np.float64)
    energies: NDArray[np.float64] = np.mean(np.square(whole.reshape(-1, width)), axis=1)
    return energies
