"""From encoded audio to mono samples at the file's own rate, block by block.

Nothing that a header says is believed before the samples are there: it may claim more frames than any memory holds, or
not know their number.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
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


class Survey(NamedTuple):
    """What one pass over a recording finds.

    Attributes:
        frames: Samples of one channel.
        rate: Hertz.
        deviation: Root mean square of the mono samples about their mean, so that a constant offset counts as silence.
        clipped: Share of samples at full scale, in the channel that has the most.
        channel: The channel (from 0) that is taken for mono, where the channels cancel in their mean.
        unfinished: Whether the stream lacks the mark that its writer sets at the end.
    """

    frames: int
    rate: int
    deviation: float
    clipped: float
    channel: int | None
    unfinished: bool

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.frames / self.rate


class Decoded(NamedTuple):
    """A whole recording: mono samples ``[T]``, the mean of the channels or the one that stands for it, and its survey."""

    samples: Samples
    survey: Survey


def decode(audio: Path | bytes, name: str, longest: float | None = None) -> Decoded:
    """Decode a recording and check that it is whole; arguments and errors are those of `survey`."""
    kept: list[Samples] = []
    found = survey(audio, name, longest, kept.append)
    if found.channel is not None:  # once more, as not every format can go back
        kept = list(blocks(audio, name, found.channel))
    return Decoded(np.concatenate(kept), found)


def survey(
    audio: Path | bytes, name: str, longest: float | None = None, keep: Callable[[Samples], None] | None = None
) -> Survey:
    """Read a recording to its end, a block at a time, and check that it is whole.

    Args:
        audio: A file, or its bytes.
        name: For messages.
        longest: Seconds at most; None: as much as `MOST_FRAMES`.
        keep: Called with each block, the mean of the channels ``[T]``.

    Returns:
        What is known of it: at least one sample, all finite.

    Raises:
        AudioError: It cannot be opened or decoded, is cut short, empty, longer than ``longest``, does not fit into
            memory, or holds NaN, infinite or unscaled samples.
    """
    with _opened(audio, name) as file:
        found = _surveyed(file, name, longest, keep or (lambda block: None))
        if not _whole(file, found.frames, _promised_by_sphere(audio)):
            what = f"{name} is cut short"
            raise AudioError(what, expected="a whole file", fix="fetch the file again")
        return found._replace(unfinished="lacks an end-of-stream bit" in file.extra_info)


def blocks(audio: Path | bytes, name: str, channel: int | None = None) -> Iterator[Samples]:
    """Mono samples of a recording that was surveyed, block by block: the mean of its channels, or one ``channel``.

    Raises:
        AudioError: It can be read no longer.
    """
    with _opened(audio, name) as file:
        for block in _blocks(file, name):
            yield _mixed(block, channel)


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


def _blocks(file: Any, name: str) -> Iterator[Samples]:
    """Blocks ``[T, channels]``, each of usable samples."""
    while len(block := file.read(max(1, _BLOCK // file.channels), dtype="float32", always_2d=True)):
        _require_usable_samples(block, name)
        yield block


def _mixed(block: Samples, channel: int | None = None) -> Samples:
    if channel is None and block.shape[1] > 1:
        return np.asarray(block.mean(axis=1))
    return block[:, channel or 0].copy()


def _surveyed(file: Any, name: str, longest: float | None, keep: Callable[[Samples], None]) -> Survey:
    """Read ``file`` to its end."""
    _require_usable_rate(file, name)
    channels, rate = int(file.channels), int(file.samplerate)
    limit = MOST_FRAMES if longest is None else min(MOST_FRAMES, int(longest * rate))
    if limit < file.frames < _UNKNOWN_FRAMES:
        _refuse_length(name, file.frames, rate, limit)
    frames = 0
    full = np.zeros(channels)
    # Sum and sum of squares of each channel and of the mean, which of one channel are the same.
    moments = np.zeros((2, channels + (channels > 1)))
    for block in _blocks(file, name):
        frames += len(block)
        if frames > limit:
            _refuse_length(name, frames, rate, limit)
        mixed = _mixed(block)
        keep(mixed)
        full += np.count_nonzero(np.abs(block) >= _FULL_SCALE, axis=0)
        all_of_it = (np.column_stack([block, mixed]) if channels > 1 else block).astype(np.float64)
        moments += all_of_it.sum(axis=0), np.square(all_of_it).sum(axis=0)
    if not frames:
        what = f"{name} holds no samples"
        raise AudioError(what, expected="at least one sample")
    mean, square = moments / frames
    variance = np.maximum(0.0, square - mean**2)  # about the mean: an offset is no sound
    cancelled = channels > 1 and variance[channels] < _CANCELS / channels * variance[:channels].mean()
    # The first of those that differ by rounding only.
    loudest = int((variance[:channels] > 0.99 * variance[:channels].max()).argmax()) if cancelled else None
    deviation = float(np.sqrt(variance[-1 if loudest is None else loudest]))
    return Survey(frames, rate, deviation, float((full / frames).max()), loudest, unfinished=False)


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
