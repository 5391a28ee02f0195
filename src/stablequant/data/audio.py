"""Recordings at a model's sampling rate, and plain words on those that cannot be used or are odd."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stablequant.data.decode import Decoded, Samples, decode
from stablequant.data.paths import shown
from stablequant.data.remarks import remarks
from stablequant.data.utterance import Utterance
from stablequant.errors import AudioError, SettingsError, memory_ran_out

#: Of one labelled utterance, in seconds. Corpora cut speech below 40 s; attention over five minutes, 15,000 frames of
#: 20 ms, takes 14 GB in 16 heads of float32, and what is longer must be cut for any model here.
LONGEST_SECONDS = 300.0
# Seconds. A manifest's rounding is no damage.
_DURATION_SLACK = 0.5


class Recording(NamedTuple):
    """Mono samples ``[T]``, float32 in [-1, 1], and what is odd about them, each note one sentence."""

    samples: Samples
    notes: list[str]


class Recordings(NamedTuple):
    """What `read_many` could use, and what not.

    Attributes:
        kept: (utterance, samples).
        skipped: (id, reason).
        notes: (id, note) of recordings that are kept and odd, see `remarks`; an id may occur more than once.
    """

    kept: list[tuple[Utterance, Samples]]
    skipped: list[tuple[str, str]]
    notes: list[tuple[str, str]]


def read(
    source: Utterance | Path | str | bytes, sampling_rate: int, shortest: int = 1, *, longest: float | None = None
) -> Samples:
    """Read a recording as mono at ``sampling_rate``: the samples of `read_recording`."""
    return read_recording(source, sampling_rate, shortest, longest=longest).samples


def read_recording(
    source: Utterance | Path | str | bytes, sampling_rate: int, shortest: int = 1, *, longest: float | None = None
) -> Recording:
    """Read a recording as mono at ``sampling_rate``.

    Channels are averaged, unless they cancel: then the loudest is taken. Resampling is soxr's, at its high quality.

    Args:
        source: An utterance, a file, or a file's bytes.
        sampling_rate: Samples a second of the result.
        shortest: Samples of the result that a model needs at least, to have one frame to look at.
        longest: Seconds at most. None is for callers that cut long audio: `decode.MOST_FRAMES` is the limit then.

    Raises:
        AudioError: If the file is missing, no regular file, corrupt, cut short, empty, too short or too long, does not
            fit into memory, or holds NaN or infinite samples.
    """
    utterance = source if isinstance(source, Utterance) else None
    audio = source.audio if isinstance(source, Utterance) else source
    name = utterance.name if utterance else "The audio" if isinstance(audio, bytes) else shown(audio)
    try:
        decoded = decode(audio if isinstance(audio, bytes) else Path(audio), name, longest)
        if utterance and utterance.duration is not None:
            _require_duration(decoded, utterance.duration, name)
        samples = _resample(decoded, sampling_rate)
        if samples.size < shortest:
            what = f"{name} is too short: {samples.size} samples at {sampling_rate} Hz where the model needs {shortest}"
            raise AudioError(what, expected=f"{shortest / sampling_rate:.3f} s or more")
        return Recording(np.clip(samples, -1.0, 1.0), [f"{name} {remark}" for remark in remarks(decoded)])
    except (MemoryError, RuntimeError) as error:
        if not memory_ran_out(error):
            raise
        what = f"{name} does not fit into memory"
        raise AudioError(what, fix="cut the recording into shorter files") from error


def read_many(
    utterances: Sequence[Utterance],
    sampling_rate: int,
    max_bad_fraction: float = 0.01,
    *,
    shortest: int = 1,
    longest: float | None = LONGEST_SECONDS,
    refused: Mapping[str, str] | None = None,
) -> Recordings:
    """Read all recordings, skipping the few that cannot be used.

    An empty transcript counts as a recording that cannot be used; one that nobody wrote (None) does not.

    Args:
        utterances: What to read.
        sampling_rate: Samples a second of the result.
        max_bad_fraction: The share that may be skipped, 0 to 1.
        shortest: Samples that the model needs at least.
        longest: Seconds of one recording at most, so that one enormous file does not end the others; see `read_recording`.
        refused: Id -> reason of utterances that cannot be used for what was found before; they count.

    Returns:
        What is ``kept``, in the given order, ``skipped``, and the ``notes`` on what is kept.

    Raises:
        AudioError: If more than ``max_bad_fraction`` cannot be used; the message tells which and why.
        SettingsError: If ``max_bad_fraction`` is not in [0, 1].
    """
    if not 0 <= max_bad_fraction <= 1:
        what = f"max_bad_fraction is {max_bad_fraction}"
        raise SettingsError(what, expected="a number from 0 to 1")
    recordings = Recordings([], [], [])
    for utterance in utterances:
        try:
            if reason := (refused or {}).get(utterance.id):
                raise AudioError(reason)
            if utterance.text is not None and not utterance.text.strip():
                what = f"{utterance.name} has an empty transcript ({utterance.source})"
                raise AudioError(what, expected="text")
            samples, notes = read_recording(utterance, sampling_rate, shortest, longest=longest)
            recordings.kept.append((utterance, samples))
            recordings.notes.extend((utterance.id, note) for note in notes)
        except AudioError as error:
            recordings.skipped.append((utterance.id, error.what))
    require_few_bad(recordings.skipped, len(utterances), max_bad_fraction)
    return recordings


def require_few_bad(skipped: Sequence[tuple[str, str]], total: int, max_bad_fraction: float) -> None:
    """Raise AudioError if more than ``max_bad_fraction`` of ``total`` recordings, or all, are ``skipped``."""
    bad = len(skipped)
    if not bad or (bad <= max_bad_fraction * total and bad < total):
        return
    reasons = "; ".join(reason for _, reason in skipped[:5])
    more = f"; and {bad - 5} more" if bad > 5 else ""
    what = f"{bad} of {total} recordings cannot be used: {reasons}{more}"
    fix = "fix or remove them"
    expected = f"at most {max_bad_fraction:.2%} bad" if max_bad_fraction < 1 else "at least one that can"
    if bad < total:
        fix += f", or let more be skipped with --set max_bad_fraction={math.ceil(bad / total * 1000) / 1000:g}"
    raise AudioError(what, expected=expected, fix=fix)


def _require_duration(decoded: Decoded, told: float, name: str) -> None:
    """Raise AudioError if the manifest tells another duration, in seconds."""
    seconds = decoded.samples.size / decoded.rate
    if abs(seconds - told) > _DURATION_SLACK + 0.05 * told:
        what = f"{name} lasts {seconds:.2f} s and its manifest says {told:.2f} s"
        raise AudioError(what, expected="a whole file", fix="fetch the file again or fix the duration")


def _resample(decoded: Decoded, sampling_rate: int) -> Samples:
    """Return the samples at ``sampling_rate``."""
    if decoded.rate == sampling_rate:
        return decoded.samples
    import soxr

    return np.asarray(soxr.resample(decoded.samples, decoded.rate, sampling_rate), dtype=np.float32)
