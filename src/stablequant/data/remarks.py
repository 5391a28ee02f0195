"""What is odd about a recording that can be used all the same."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from stablequant.data.decode import Samples, Survey
from stablequant.errors import DataError

#: One step of 16 bits: what varies less is silence with or without dither.
_SILENT = 2.0**-15
#: -60 dB below full scale. Of 1,200 recordings of three corpora the quietest is at -25 dB.
_QUIET = 1e-3
#: Of 800 unclipped recordings scaled to full scale none has a share above 0.08 %; a gain of 1.5 more makes 0.8 % of it.
_CLIPPED = 0.002


def remarks(found: Survey) -> list[str]:
    """Return what a user should know of a recording, each as the end of a sentence that begins with its name."""
    odd = []
    if found.channel is not None:
        taken = found.channel + 1
        odd.append(f"has channels in opposite phase, which cancel in their mean: channel {taken} is used alone")
    if found.deviation < _SILENT:
        odd.append("is silent")
    elif found.deviation < _QUIET:
        odd.append(f"is very quiet, {-20 * math.log10(found.deviation):.0f} dB below full scale")
    if found.clipped > _CLIPPED:
        odd.append(f"is clipped: {found.clipped:.1%} of its samples are at full scale")
    if found.unfinished:
        odd.append("may be cut short: its last Ogg page has no end mark")
    return odd


def all_silent(waveforms: Iterable[Samples]) -> bool:
    """Tell whether no waveform ``[T]`` varies by more than one step of 16 bits; False where there is none."""
    loudness = [_deviation(waveform) for waveform in waveforms]
    return bool(loudness) and max(loudness) < _SILENT


def require_sound(waveforms: Iterable[Samples], name: str) -> None:
    """Raise DataError if all speech of the part called ``name`` is silent: ranges observed on it fit nothing else."""
    if all_silent(waveforms):
        what = f"the {name} speech is silent: no recording varies by more than one step of 16 bits"
        raise DataError(what, expected="recordings with sound", fix="check which channel or device was recorded")


def _deviation(samples: Samples) -> float:
    """Root mean square about the mean, so that a constant offset counts as silence."""
    return float(np.std(samples, dtype=np.float64)) if samples.size else 0.0
