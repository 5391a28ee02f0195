"""Decode and resample recordings, and say plainly which ones cannot be used."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stablequant.data.utterance import Utterance
from stablequant.errors import AudioError, SettingsError

Samples = NDArray[np.float32]

_FORMATS = "wav, flac, mp3, ogg, or another format that libsndfile reads"
# Seconds. Neither a manifest's rounding nor a lossy encoder's padding is damage.
_DURATION_SLACK = 0.5
_FRAMES_SLACK = 0.1
# Lossy decoding and resampling overshoot 1 a little; integers kept as floats are far above.
_OVERSHOOT = 2.0


class Recordings(NamedTuple):
    """What `read_many` could use, and what not."""

    kept: list[tuple[Utterance, Samples]]
    skipped: list[tuple[str, str]]


def read(source: Utterance | Path | str | bytes, sampling_rate: int, shortest: int = 1) -> Samples:
    """Read a recording as mono at ``sampling_rate``.

    Channels are averaged. Resampling is soxr's, at its high quality.

    Args:
        source: An utterance, a file, or a file's bytes.
        sampling_rate: Samples a second of the result.
        shortest: Samples of the result that a model needs at least, to have one frame to look at.

    Returns:
        Samples of shape ``[T]``, float32, in [-1, 1].

    Raises:
        AudioError: If the file is missing, corrupt, cut short, empty, too short, or holds NaN or infinite samples.
    """
    utterance = source if isinstance(source, Utterance) else None
    audio = source.audio if isinstance(source, Utterance) else source
    name = utterance.name if utterance else "The audio" if isinstance(audio, bytes) else str(audio)
    samples, rate = _decode(audio if isinstance(audio, bytes) else Path(audio), name)
    if not samples.size:
        what = f"{name} holds no samples"
        raise AudioError(what, expected="at least one sample")
    if not np.isfinite(samples).all():
        what = f"{name} holds NaN or infinite samples"
        raise AudioError(what, expected="finite samples", fix="write the file again from its source")
    if (peak := float(np.abs(samples).max())) > _OVERSHOOT:
        what = f"{name} reaches {peak:g}"
        raise AudioError(what, expected="samples in [-1, 1]", fix="scale floats by the integer's full range")
    seconds = samples.size / rate
    told = utterance.duration if utterance else None
    if told is not None and abs(seconds - told) > _DURATION_SLACK + 0.05 * told:
        what = f"{name} lasts {seconds:.2f} s and its manifest says {told:.2f} s"
        raise AudioError(what, expected="a whole file", fix="fetch the file again or fix the duration")
    if rate != sampling_rate:
        import soxr

        samples = np.asarray(soxr.resample(samples, rate, sampling_rate), dtype=np.float32)
    if samples.size < shortest:
        what = f"{name} is too short: {samples.size} samples at {sampling_rate} Hz where the model needs {shortest}"
        raise AudioError(what, expected=f"{shortest / sampling_rate:.3f} s or more")
    return np.clip(samples, -1.0, 1.0)


def read_many(
    utterances: Sequence[Utterance],
    sampling_rate: int,
    max_bad_fraction: float = 0.01,
    *,
    shortest: int = 1,
    refused: Mapping[str, str] | None = None,
) -> Recordings:
    """Read all recordings, skipping the few that cannot be used.

    An empty transcript counts as a recording that cannot be used.

    Args:
        utterances: What to read.
        sampling_rate: Samples a second of the result.
        max_bad_fraction: The share that may be skipped, 0 to 1.
        shortest: Samples that the model needs at least.
        refused: Id -> reason of utterances that cannot be used for what was found before; they count.

    Returns:
        ``kept``: (utterance, samples) in the given order. ``skipped``: (id, reason).

    Raises:
        AudioError: If more than ``max_bad_fraction`` cannot be used; the message tells which and why.
        SettingsError: If ``max_bad_fraction`` is not in [0, 1].
    """
    if not 0 <= max_bad_fraction <= 1:
        what = f"max_bad_fraction is {max_bad_fraction}"
        raise SettingsError(what, expected="a number from 0 to 1")
    recordings = Recordings([], [])
    for utterance in utterances:
        try:
            if reason := (refused or {}).get(utterance.id):
                raise AudioError(reason)
            if not utterance.text.strip():
                what = f"{utterance.name} has an empty transcript ({utterance.source})"
                raise AudioError(what, expected="text")
            recordings.kept.append((utterance, read(utterance, sampling_rate, shortest)))
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


def _decode(audio: Path | bytes, name: str) -> tuple[Samples, int]:
    """Return the mono samples ``[T]`` and their rate, holding that the file is whole."""
    import soundfile

    if isinstance(audio, Path) and not audio.is_file():
        what = f"There is no audio file {name}"
        raise AudioError(what, fix="check the path in the manifest")
    try:
        with soundfile.SoundFile(io.BytesIO(audio) if isinstance(audio, bytes) else audio) as file:
            samples = file.read(dtype="float32", always_2d=True)
            missing = file.frames - len(samples)
            whole = missing <= _FRAMES_SLACK * file.samplerate and not _header_promises_more(file)
            rate = int(file.samplerate)
    except (soundfile.SoundFileError, OSError) as error:
        reason = getattr(error, "error_string", str(error))
        what = f"{name} cannot be decoded: {reason}"
        raise AudioError(what, expected=_FORMATS, fix="fetch the file again or convert it") from error
    if not whole:
        what = f"{name} is cut short"
        raise AudioError(what, expected="a whole file", fix="fetch the file again")
    return np.asarray(samples.mean(axis=1), dtype=np.float32), rate


def _header_promises_more(file: Any) -> bool:
    """Tell whether a wav or aiff header promises more bytes than there are.

    libsndfile fixes such headers in silence and only notes it in its log. Sizes near 2 or 4 GiB are what
    programs write that cannot seek back in a pipe: no promise.
    """
    note = re.search(r"(?:data|SSND) *: *(\d+) \(should be (\d+)\)", file.extra_info)
    return note is not None and int(note[2]) < int(note[1]) < 0x7FFF0000
