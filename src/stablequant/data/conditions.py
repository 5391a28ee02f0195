"""Conditions that speech is recorded and sent under, made from the recordings at hand: ``noise:10``, ``telephone``, ``long:60``.

What is random follows from a seed, the kind of condition and the bytes of the recording alone: not from the order of recordings,
their names or batches. So a recording has the same noise at every level of noise.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from stablequant.data import degrade
from stablequant.data.audio import LONGEST_SECONDS
from stablequant.data.decode import Samples
from stablequant.data.level import speech_level
from stablequant.data.speech import Speech
from stablequant.data.utterance import Utterance
from stablequant.errors import DataError, SettingsError

#: Voices in babble.
VOICES = 4
#: Seconds of silence between recordings that are joined.
GAP = 0.3


@dataclass(frozen=True)
class Kind:
    """A kind of condition.

    Attributes:
        about: What becomes of a recording, with ``{}`` where the number stands.
        unit: Of the number; empty: the kind has none.
        usual: The number where none is given; ``None``: one must be.
        least: Smallest number.
        most: Largest.
    """

    about: str
    unit: str = ""
    usual: float | None = None
    least: float = 0.0
    most: float = 0.0


KINDS = {
    "clean": Kind("as it is"),
    "noise": Kind("pink noise is added, {} dB below the level of the speech", "dB", 10, -20, 60),
    "babble": Kind(f"{VOICES} other recordings are added, together {{}} dB below the speech", "dB", 10, -20, 60),
    "telephone": Kind("300 to 3400 Hz at 8 kHz, in the mu-law codes of G.711"),
    "codec": Kind("through Opus at {} kbit/s", "kbit/s", 8, 6, 256),
    "reverb": Kind(
        "in a room with {} s reverberation time (RT60), as loud as the direct sound; a synthetic one, noise that decays",
        "s",
        0.6,
        0.1,
        5,
    ),
    "speed": Kind("played {} times as fast, tempo and pitch", "times", 0.9, 0.5, 2),
    "gain": Kind("its level is changed by {} dB, and it is clipped at full scale", "dB", None, -80, 40),
    "long": Kind(
        "recordings of one speaker and set are joined to at most {} s, or left as they are if longer",
        "s",
        60,
        1,
        LONGEST_SECONDS,
    ),
    "clipped": Kind("the loudest {} of all samples are cut off at one height", "share", 0.05, 1e-4, 0.5),
    "silence": Kind("pink noise alone, {} dB below the level of the speech; nothing is said", "dB", 40, 0, 100),
}
#: All of them, as an error or a help text lists them.
LIST = ", ".join(
    name + (f":{kind.unit}" if kind.unit and kind.usual is None else f"[:{kind.unit}]" if kind.unit else "")
    for name, kind in KINDS.items()
)


@dataclass(frozen=True)
class Condition:
    """One condition.

    Attributes:
        kind: One of `KINDS`.
        value: Its number; 0 where the kind has none.
    """

    kind: str
    value: float = 0.0

    @property
    def name(self) -> str:
        """As it is written: ``noise:10``."""
        return f"{self.kind}:{self.value:g}" if KINDS[self.kind].unit else self.kind

    @property
    def about(self) -> str:
        """What becomes of a recording, in words."""
        return KINDS[self.kind].about.format(f"{self.value:g}")


def parse(text: str) -> tuple[Condition, ...]:
    """The conditions that ``text`` names, split by commas, each once.

    Raises:
        SettingsError: One is unknown, or its number is none or out of bounds; says which and lists all there are.
    """
    return tuple(dict.fromkeys(_parsed(part.strip()) for part in text.split(",")))


def _parsed(text: str) -> Condition:
    name, given, number = text.partition(":")
    kind, fix = KINDS.get(name), f"conditions are {LIST}"
    if kind is None:
        what = f"the condition {text[:100]!r} is unknown"
        raise SettingsError(what, expected=f"one of {', '.join(KINDS)}", fix=fix)
    if not kind.unit:
        if given:
            what = f"the condition {name} takes no number, and has {number[:100]!r}"
            raise SettingsError(what, expected=name, fix=fix)
        return Condition(name)
    try:
        value = float(number) if given else kind.usual
    except ValueError:
        value = math.nan
    if value is None or not kind.least <= value <= kind.most:
        what = f"the condition {text[:100]!r} has no number that can be used"
        raise SettingsError(what, expected=f"{name}:NUMBER ({kind.unit}, {kind.least:g} to {kind.most:g})", fix=fix)
    return Condition(name, value)


def apply(condition: Condition, speech: Speech, seed: int, batch_size: int, batch_seconds: float) -> Speech:
    """``speech`` under ``condition``, in batches of its own; recordings that are joined are as many fewer.

    Args:
        condition: What becomes of it.
        speech: Clean.
        seed: Of what is random.
        batch_size: As `Speech.read` takes it.
        batch_seconds: Likewise.

    Raises:
        DataError: There are too few other recordings for babble.
    """
    if condition.kind == "clean":
        return speech
    utterances = list(speech.utterances)
    if condition.kind == "long":
        utterances, waveforms = _joined(speech, condition.value)
    else:
        waveforms = [degraded(condition, speech, i, seed) for i in range(len(utterances))]
    if condition.kind == "silence":
        utterances = [replace(u, text="") for u in utterances]
    changed = Speech(tuple(utterances), tuple(waveforms), speech.sampling_rate, (), (), window=speech.window)
    return changed.part(range(len(utterances)), batch_size, batch_seconds)


def degraded(condition: Condition, speech: Speech, index: int, seed: int) -> Samples:
    """One recording of ``speech`` under a ``condition`` other than ``long``."""
    samples, rate, value = speech.waveforms[index], speech.sampling_rate, condition.value
    random = np.random.default_rng(_seed(seed, condition.kind, speech.utterances[index]))
    match condition.kind:
        case "noise":
            return degrade.noise(samples, rate, value, random)
        case "babble":
            return degrade.babble(samples, rate, value, _others(speech, index, random), random)
        case "telephone":
            return degrade.telephone(samples, rate)
        case "codec":
            return degrade.codec(samples, rate, value)
        case "reverb":
            return degrade.reverb(samples, rate, value, random)
        case "speed":
            return degrade.speed(samples, rate, value)
        case "gain":
            return degrade.gain(samples, value)
        case "clipped":
            return degrade.clipped(samples, value)
        case "silence":
            level = speech_level(samples, rate) * 10 ** (-value / 20)
            return degrade.stored(degrade.pink_noise(len(samples), rate, random) * level)
    return samples


def _seed(seed: int, kind: str, utterance: Utterance) -> int:
    """A number that follows from the bytes of the recording, whatever it is called and wherever it lies."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{kind}:{utterance.digest}".encode()).digest()[:16])


def _others(speech: Speech, index: int, random: np.random.Generator) -> list[Samples]:
    """Recordings that are not the one at ``index``, drawn from all in an order of their own."""
    own = speech.utterances[index].digest
    by_digest = {u.digest: w for u, w in zip(speech.utterances, speech.waveforms, strict=True) if u.digest != own}
    if len(by_digest) < VOICES:
        what = f"babble needs {VOICES} other recordings beside each, and there are {len(by_digest)}"
        raise DataError(what, expected=f"at least {VOICES + 1} recordings", fix="give more speech, or leave babble out")
    return [by_digest[d] for d in random.choice(sorted(by_digest), VOICES, replace=False)]


def _joined(speech: Speech, seconds: float) -> tuple[list[Utterance], list[Samples]]:
    """Recordings of one speaker and set one after another, in the order of their ids."""
    gap = np.zeros(int(GAP * speech.sampling_rate), np.float32)
    most = int(seconds * speech.sampling_rate)
    voices: dict[tuple[str, str | None], list[list[int]]] = defaultdict(list)
    for i in sorted(range(len(speech.utterances)), key=lambda i: speech.utterances[i].id):
        groups = voices[speech.utterances[i].set_name, speech.utterances[i].speaker]
        held = sum(len(speech.waveforms[j]) + len(gap) for j in groups[-1]) if groups else most
        if held + len(speech.waveforms[i]) > most:
            groups.append([])
        groups[-1].append(i)
    utterances, waveforms = [], []
    for group in (g for groups in voices.values() for g in groups):
        members = [speech.utterances[i] for i in group]
        texts = [u.text for u in members if u.text is not None]
        name = members[0].id + (f" and {len(group) - 1} more" if len(group) > 1 else "")
        text = " ".join(texts) if len(texts) == len(members) else None
        utterances.append(replace(members[0], id=name, text=text, duration=None))
        parts = [part for i in group for part in (gap, speech.waveforms[i])][1:]
        waveforms.append(np.concatenate(parts) if len(parts) > 1 else parts[0])
    return utterances, waveforms
