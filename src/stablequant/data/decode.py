"""From encoded audio to mono samples at the file's own rate, block by block.

Nothing that a header says is believed before the samples are there: it may claim more frames than any memory holds, or
not know their number.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stablequant.data.paths import open_regular, reason
from stablequant.errors import AudioError, memory_ran_out

Samples = NDArray[np.float32]

_FORMATS = "wav, flac, mp3, ogg, or another format that libsndfile reads"
#: Samples over all channels that are decoded at a time, 1 MiB.
_BLOCK = 2**18
#: Frames that are read where the caller sets no limit: 4 GiB as float32, 18 hours at 16 kHz.
MOST_FRAMES = 2**30
#: Hertz. Below there is no speech; above is a damaged header. Either would make noise of any length by resampling.
_RATES = (4_000, 1_000_000)
#: What libsndfile says for "unknown" (SF_COUNT_MAX), as in FLAC that was written into a pipe.
_UNKNOWN_FRAMES = 2**63 - 1
#: Seconds. An encoder's padding is no damage.
_FRAMES_SLACK = 0.1
#: Lossy decoding overshoots 1 a little; integers kept as floats are far above.
_OVERSHOOT = 2.0
#: A sample from here on is at full scale: the largest of mu-law is 0.9804, of A-law 0.984, of 8 bits 0.992.
_FULL_SCALE = 0.98
#: Of C channels that have nothing in common, the mean has 1/C of their variance. A tenth of that: they cancel.
_CANCELS = 0.1


class Decoded(NamedTuple):
    """A whole recording.

    Attributes:
        samples: Mono ``[T]``, the mean of the channels.
        rate: Hertz.
        clipped: Share of samples at full scale, in the channel that has the most.
        channel: The channel (from 0) that ``samples`` are, where the channels cancel in their mean.
        unfinished: Whether the stream lacks the mark that its writer sets at the end.
    """

    samples: Samples
    rate: int
    clipped: float
    channel: int | None
    unfinished: bool


class _Mixed(NamedTuple):
    """Mono samples, and of each channel the share at full scale; ``cancelled``: the loudest channel, if they cancel."""

    samples: Samples
    clipped: NDArray[np.float64]
    cancelled: int | None


def decode(audio: Path | bytes, name: str, longest: float | None = None) -> Decoded:
    """Decode a recording and check that it is whole.

    Args:
        audio: A file, or its bytes.
        name: For messages.
        longest: Seconds at most; None: as much as `MOST_FRAMES`.

    Returns:
        At least one sample, all finite.

    Raises:
        AudioError: It cannot be opened or decoded, is cut short, empty, longer than ``longest``, does not fit into
            memory, or holds NaN, infinite or unscaled samples.
    """
    with _opened(audio, name) as file:
        mixed = _mix(file, name, longest)
        if not _whole(file, len(mixed.samples), _promised_by_sphere(audio)):
            what = f"{name} is cut short"
            raise AudioError(what, expected="a whole file", fix="fetch the file again")
        rate = int(file.samplerate)
        unfinished = "lacks an end-of-stream bit" in file.extra_info
    samples = mixed.samples
    if mixed.cancelled is not None:
        with _opened(audio, name) as file:  # once more, as not every format can go back
            samples = _mix(file, name, longest, channel=mixed.cancelled).samples
    return Decoded(samples, rate, float(mixed.clipped.max()), mixed.cancelled, unfinished)


@contextmanager
def _opened(audio: Path | bytes, name: str) -> Iterator[Any]:
    """Open audio for reading straight through; whatever goes wrong meanwhile is an AudioError about ``name``."""
    import soundfile

    try:
        with ExitStack() as stack:
            # By descriptor, so that the ending plays no part: libsndfile guesses a headerless format by it.
            source = (
                io.BytesIO(audio) if isinstance(audio, bytes) else stack.enter_context(open_regular(audio)).fileno()
            )
            file = stack.enter_context(soundfile.SoundFile(source, closefd=False))
            # soundfile seeks after each block of a file that can, which fails in FLAC of unknown length.
            file.seekable = lambda: False
            yield file
    except (FileNotFoundError, NotADirectoryError) as error:
        what = f"There is no audio file {name}"
        raise AudioError(what, fix="check the path in the manifest") from error
    except OSError as error:
        what = f"{name} cannot be opened: {reason(error)}"
        raise AudioError(
            what, expected="an audio file that may be read", fix="check the path in the manifest"
        ) from error
    except (soundfile.SoundFileError, ValueError, TypeError, RuntimeError) as error:
        if memory_ran_out(error):
            raise MemoryError from error
        told = getattr(error, "error_string", str(error))
        what = f"{name} cannot be decoded: {told}"
        raise AudioError(what, expected=_FORMATS, fix="fetch the file again or convert it") from error


def _mix(file: Any, name: str, longest: float | None, channel: int | None = None) -> _Mixed:
    """Read ``file`` to its end, as the mean of its channels or one ``channel``."""
    _require_usable_rate(file, name)
    channels = int(file.channels)
    averaged = channel is None and channels > 1
    limit = MOST_FRAMES if longest is None else min(MOST_FRAMES, int(longest * file.samplerate))
    if limit < file.frames < _UNKNOWN_FRAMES:
        _refuse_length(name, file.frames, file.samplerate, limit)
    blocks: list[Samples] = []
    frames = 0
    full = np.zeros(channels)
    # Sum and sum of squares of each channel and of the mean.
    moments = np.zeros((2, channels + 1))
    while len(block := file.read(max(1, _BLOCK // channels), dtype="float32", always_2d=True)):
        frames += len(block)
        if frames > limit:
            _refuse_length(name, frames, file.samplerate, limit)
        _require_usable_samples(block, name)
        mixed = block.mean(axis=1) if averaged else block[:, channel or 0].copy()
        blocks.append(mixed)
        full += np.count_nonzero(np.abs(block) >= _FULL_SCALE, axis=0)
        if averaged:
            all_of_it = np.column_stack([block, mixed]).astype(np.float64)
            moments += all_of_it.sum(axis=0), np.square(all_of_it).sum(axis=0)
    if not frames:
        what = f"{name} holds no samples"
        raise AudioError(what, expected="at least one sample")
    mean, square = moments / frames
    variance = square - mean**2  # about the mean: an offset is no sound
    cancelled = variance[channels] < _CANCELS / channels * variance[:channels].mean()
    # The first of those that differ by rounding only.
    loudest = int((variance[:channels] > 0.99 * variance[:channels].max()).argmax()) if cancelled else None
    return _Mixed(np.concatenate(blocks), full / frames, loudest)


def _require_usable_rate(file: Any, name: str) -> None:
    least, most = _RATES
    if not least <= file.samplerate <= most:
        what = f"{name} has a sampling rate of {file.samplerate} Hz"
        raise AudioError(what, expected=f"{least} to {most} Hz", fix="fetch the file again or convert it")


def _require_usable_samples(block: Samples, name: str) -> None:
    if not np.isfinite(block).all():
        what = f"{name} holds NaN or infinite samples"
        raise AudioError(what, expected="finite samples", fix="write the file again from its source")
    if (peak := float(np.abs(block).max())) > _OVERSHOOT:
        what = f"{name} reaches {peak:g}"
        raise AudioError(what, expected="samples in [-1, 1]", fix="scale floats by the integer's full range")


def _refuse_length(name: str, frames: int, rate: int, limit: int) -> None:
    what = f"{name} lasts {frames / rate:.1f} s or more"
    raise AudioError(what, expected=f"at most {limit / rate:g} s", fix="cut the recording into shorter files")


def _whole(file: Any, frames: int, promised: int) -> bool:
    """Tell whether the ``frames`` read are as many as the header and ``promised`` say.

    libsndfile corrects sizes in a header in silence and only notes it in its log. Sizes near 2 or 4 GiB are what
    programs write that cannot seek back in a pipe: no promise.
    """
    if file.frames < _UNKNOWN_FRAMES:
        promised = max(promised, file.frames)
    if promised - frames > _FRAMES_SLACK * file.samplerate:
        return False
    log = file.extra_info
    sizes = re.search(r"(?:data|SSND|BODY|Data Size|riff) *: *(\d+) \(should be (\d+)\)", log)
    if sizes is not None and int(sizes[2]) < int(sizes[1]) < 0x7FFF0000:
        return False
    counted = re.search(r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)", log)
    if counted is not None and int(counted[1]) < int(counted[2]):
        return False
    return "Seems to be a truncated file" not in log


def _promised_by_sphere(audio: Path | bytes) -> int:
    """Return the frames that a NIST SPHERE header promises, or 0; libsndfile does not look at them.

    Source: NIST SPHERE, header fields ``sample_count -i N`` in the first 1024 bytes, per channel.
    """
    if isinstance(audio, bytes):
        head = audio[:1024]
    else:
        with open_regular(audio) as file:
            head = file.read(1024)
    count = re.search(rb"\nsample_count -i (\d{1,18})\n", head) if head.startswith(b"NIST_1A") else None
    return int(count[1]) if count else 0
