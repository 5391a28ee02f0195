"""What sets one recording apart from another, beside what is said: how long it is, who speaks, how loud, in how much noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stablequant.data.level import signal_to_noise, speech_level
from stablequant.data.speech import Speech


@dataclass(frozen=True)
class Traits:
    """Of one recording.

    Attributes:
        seconds: It lasts.
        speaker: Who speaks, if that is known.
        set_name: Of the speech it came with.
        loudness: Level of its speech in dB below full scale, negative; ``None`` where it is silent.
        noise: Decibels by which its speech stands out from its pauses; ``None`` where that cannot be said.
    """

    seconds: float
    speaker: str | None
    set_name: str
    loudness: float | None
    noise: float | None


def traits(speech: Speech) -> tuple[Traits, ...]:
    """Of every recording, in the order of ``speech``."""
    rate, found = speech.sampling_rate, []
    for utterance, samples in zip(speech.utterances, speech.waveforms, strict=True):
        level = speech_level(samples, rate)
        found.append(
            Traits(
                len(samples) / rate,
                utterance.speaker,
                utterance.set_name,
                20 * math.log10(level) if level > 0 else None,
                signal_to_noise(samples, rate),
            )
        )
    return tuple(found)
