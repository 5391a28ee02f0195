"""Recordings at a model's sampling rate, and plain words on those that cannot be used or are odd."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from stablequant.data.decode import Samples, Survey, decode, survey
from stablequant.data.decode import blocks as decoded_blocks
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


@dataclass(frozen=True)
class Stream:
    """A recording that was read through once and can be read again, without ever being in memory as a whole.

    Attributes:
        audio: A file, or its bytes.
        name: For messages.
        sampling_rate: Of its blocks, in hertz.
        survey: What is known of it.
        notes: What is odd about it, each one sentence.
    """

    audio: Path | bytes
    name: str
    sampling_rate: int
    survey: Survey
    notes: list[str]

    def blocks(self) -> Iterator[Samples]:
        """Mono samples ``[T]``, float32 in [-1, 1], block by block: together those of `read_recording`.

        Raises:
            AudioError: The recording has changed since it was surveyed.
        """
        frames = 0

        def counted() -> Iterator[Samples]:
            nonlocal frames
            for block in decoded_blocks(self.audio, self.name, self.survey.channel):
                frames += len(block)
                yield block

        for block in _resampled(counted(), self.survey.rate, self.sampling_rate):
            if block.size:
                yield np.clip(block, -1.0, 1.0)
        if frames != self.survey.frames:
            what = f"{self.name} has changed while it was transcribed: {frames} samples, {self.survey.frames} before"
            raise AudioError(what, fix="transcribe it again once it is whole")


Found = TypeVar("Found")


class Recordings(NamedTuple, Generic[Found]):
    """What `read_many` or `open_many` could use, and what not.

    Attributes:
        kept: (utterance, samples or stream).
        skipped: (id, reason).
        notes: (id, note) of recordings that are kept and odd, see `remarks`; an id may occur more than once.
    """

    kept: list[tuple[Utterance, Found]]
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
    audio, name = _named(source)
    with _room_for(name):
        samples, found = decode(audio, name, longest)
        notes = _accepted(found, source, name, sampling_rate, shortest)
        return Recording(np.clip(_resample(samples, found.rate, sampling_rate), -1.0, 1.0), notes)


def open_stream(source: Utterance | Path | str | bytes, sampling_rate: int, shortest: int = 1) -> Stream:
    """Read a recording through and keep nothing but what is known of it, to be read again block by block.

    Arguments and errors are those of `read_recording`.
    """
    audio, name = _named(source)
    found = survey(audio, name)
    return Stream(audio, name, sampling_rate, found, _accepted(found, source, name, sampling_rate, shortest))


def read_many(
    utterances: Sequence[Utterance],
    sampling_rate: int,
    max_bad_fraction: float = 0.01,
    *,
    shortest: int = 1,
    longest: float | None = LONGEST_SECONDS,
    refused: Mapping[str, str] | None = None,
) -> Recordings[Samples]:
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

    def use(utterance: Utterance) -> tuple[Samples, list[str]]:
        if reason := (refused or {}).get(utterance.id):
            raise AudioError(reason)
        if utterance.text is not None and not utterance.text.strip():
            what = f"{utterance.name} has an empty transcript ({utterance.source})"
            raise AudioError(what, expected="text")
        return read_recording(utterance, sampling_rate, shortest, longest=longest)

    return _usable(utterances, use, max_bad_fraction)


def open_many(
    utterances: Sequence[Utterance], sampling_rate: int, max_bad_fraction: float = 0.01, *, shortest: int = 1
) -> Recordings[Stream]:
    """`read_many` for recordings of any length and unknown text: what is kept is not in memory, see `open_stream`."""

    def use(utterance: Utterance) -> tuple[Stream, list[str]]:
        stream = open_stream(utterance, sampling_rate, shortest)
        return stream, stream.notes

    return _usable(utterances, use, max_bad_fraction)


def _usable(
    utterances: Sequence[Utterance], use: Callable[[Utterance], tuple[Found, list[str]]], max_bad_fraction: float
) -> Recordings[Found]:
    if not 0 <= max_bad_fraction <= 1:
        what = f"max_bad_fraction is {max_bad_fraction}"
        raise SettingsError(what, expected="a number from 0 to 1")
    recordings: Recordings[Found] = Recordings([], [], [])
    for utterance in utterances:
        try:
            found, notes = use(utterance)
            recordings.kept.append((utterance, found))
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
    expected = f"at most {max_bad_fraction:.2%} bad" if bad < total else "at least one that can"
    if bad < total:
        fix += f", or let more be skipped with --set max_bad_fraction={math.ceil(bad / total * 1000) / 1000:g}"
    raise AudioError(what, expected=expected, fix=fix)


def _named(source: Utterance | Path | str | bytes) -> tuple[Path | bytes, str]:
    """Where the audio is, and what to call it in a message."""
    audio = source.audio if isinstance(source, Utterance) else source
    if isinstance(source, Utterance):
        name = source.name
    else:
        name = "The audio" if isinstance(audio, bytes) else shown(audio)
    return audio if isinstance(audio, bytes) else Path(audio), name


def _accepted(found: Survey, source: object, name: str, sampling_rate: int, shortest: int) -> list[str]:
    """Notes on a recording; AudioError if its duration is not its manifest's, or too short."""
    if isinstance(source, Utterance) and source.duration is not None:
        _require_duration(found.seconds, source.duration, name)
    samples = round(found.seconds * sampling_rate)
    if samples < shortest:
        what = f"{name} is too short: {samples} samples at {sampling_rate} Hz where the model needs {shortest}"
        raise AudioError(what, expected=f"{shortest / sampling_rate:.3f} s or more")
    return [f"{name} {remark}" for remark in remarks(found)]


@contextmanager
def _room_for(name: str) -> Iterator[None]:
    """Turn a lack of memory into an AudioError about ``name``."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not memory_ran_out(error):
            raise
        what = f"{name} does not fit into memory"
        raise AudioError(what, fix="cut the recording into shorter files") from error


def _require_duration(seconds: float, told: float, name: str) -> None:
    """Raise AudioError if the manifest tells another duration, in seconds."""
    if abs(seconds - told) > _DURATION_SLACK + 0.05 * told:
        what = f"{name} lasts {seconds:.2f} s and its manifest says {told:.2f} s"
        raise AudioError(what, expected="a whole file", fix="fetch the file again or fix the duration")


def _resample(samples: Samples, rate: int, sampling_rate: int) -> Samples:
    """Return samples of ``rate`` at ``sampling_rate``."""
    if rate == sampling_rate:
        return samples
    import soxr

    return np.asarray(soxr.resample(samples, rate, sampling_rate), dtype=np.float32)


def _resampled(blocks: Iterable[Samples], rate: int, sampling_rate: int) -> Iterator[Samples]:
    """The same of samples that arrive in blocks; soxr keeps what a filter has to know of the block before."""
    if rate == sampling_rate:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(rate, sampling_rate, 1, dtype="float32")
    for block in blocks:
        yield np.asarray(stream.resample_chunk(block), dtype=np.float32)
    yield np.asarray(stream.resample_chunk(np.zeros(0, np.float32), last=True), dtype=np.float32)
