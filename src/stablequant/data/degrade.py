"""What happens to speech on its way to a model: waveform in, waveform out, the same samples for the same random numbers.

Each function takes mono samples ``[T]`` in [-1, 1] and their rate in hertz, and returns mono samples ``[T]`` (`speed` as many as
the speech then lasts). Filters are SciPy's, resampling is soxr's, codecs are libsndfile's.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.data.decode import Samples
from stablequant.data.level import rms, speech_level

#: Hertz: the band of a telephone line (ITU-T G.712), and its sampling rate.
TELEPHONE_BAND, TELEPHONE_RATE = (300.0, 3400.0), 8000
#: Hertz: pink noise begins here, as microphones do.
LOWEST = 50.0
#: Decibels by which the whole of a room's reverberation lies below the direct sound: a talker at the critical distance.
DIRECT_TO_REVERBERANT = 0.0
#: Seconds that the direct sound is ahead of the reverberation.
FIRST_REFLECTION = 0.002
#: libsndfile's Opus: bits a second at the strongest compression, and how many more at the weakest.
_OPUS_LEAST, _OPUS_RANGE = 6_000, 250_000


def pink_noise(count: int, rate: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Noise whose power falls with 1 / frequency from ``LOWEST`` on, as that of speech roughly does; its RMS is 1.

    White noise, divided by the root of the frequency in the Fourier domain.
    """
    spectrum = np.fft.rfft(random.standard_normal(count))
    frequencies = np.fft.rfftfreq(count, 1 / rate)
    shaped = np.fft.irfft(
        np.where(frequencies >= LOWEST, spectrum / np.sqrt(np.maximum(frequencies, LOWEST)), 0), count
    )
    return shaped / max(rms(shaped), np.finfo(np.float64).tiny)


def noise(samples: Samples, rate: int, decibels: float, random: np.random.Generator) -> Samples:
    """Pink noise is added, ``decibels`` below the level of the speech."""
    return mixed(samples, rate, pink_noise(len(samples), rate, random), decibels)


def babble(
    samples: Samples, rate: int, decibels: float, others: Sequence[Samples], random: np.random.Generator
) -> Samples:
    """The voices of ``others`` are added, all equally loud, together ``decibels`` below the level of the speech.

    Each begins anywhere in its recording, and is repeated as long as the speech lasts.
    """
    voices = np.zeros(len(samples))
    for other in others:
        start = int(random.integers(len(other)))
        voice = np.resize(np.roll(other, -start), len(samples)).astype(np.float64)
        voices += voice / max(speech_level(other, rate), np.finfo(np.float64).tiny)
    return mixed(samples, rate, voices, decibels)


def mixed(samples: Samples, rate: int, other: NDArray[np.float64], decibels: float) -> Samples:
    """``other`` is added so that the level of the speech lies ``decibels`` above its RMS."""
    wanted = speech_level(samples, rate) * 10 ** (-decibels / 20)
    return stored(samples + other * (wanted / max(rms(other), np.finfo(np.float64).tiny)))


def telephone(samples: Samples, rate: int) -> Samples:
    """A telephone line: the band of G.712, 8 kHz, and the codes of G.711 (mu-law)."""
    import scipy.signal
    import soxr

    band = scipy.signal.butter(4, TELEPHONE_BAND, "bandpass", fs=rate, output="sos")
    narrow = soxr.resample(scipy.signal.sosfiltfilt(band, samples), rate, TELEPHONE_RATE)
    decoded = _through(narrow, TELEPHONE_RATE, format="WAV", subtype="ULAW")
    return stored(_fitted(soxr.resample(decoded, TELEPHONE_RATE, rate), len(samples)))


def codec(samples: Samples, rate: int, kilobits: float) -> Samples:
    """Opus at ``kilobits`` a second: coded, and decoded again."""
    level = 1 - (1000 * kilobits - _OPUS_LEAST) / _OPUS_RANGE
    return stored(_fitted(_through(samples, rate, format="OGG", subtype="OPUS", compression_level=level), len(samples)))


def reverb(samples: Samples, rate: int, seconds: float, random: np.random.Generator) -> Samples:
    """A room whose sound falls by 60 dB in ``seconds``: the direct sound, and noise that decays exponentially.

    The impulse response of Polack's model (Polack 1988): ``noise(t) exp(-3 ln(10) t / seconds)``. The level of the speech and its
    length stay.
    """
    import scipy.signal

    time = np.arange(int(seconds * rate)) / rate
    tail = random.standard_normal(len(time)) * np.exp(-3 * np.log(10) * time / seconds)
    tail[: int(FIRST_REFLECTION * rate)] = 0
    tail *= 10 ** (-DIRECT_TO_REVERBERANT / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1
    wet = scipy.signal.fftconvolve(samples, tail)[: len(samples)]
    return stored(wet * (rms(samples) / max(rms(wet), np.finfo(np.float64).tiny)))


def speed(samples: Samples, rate: int, factor: float) -> Samples:
    """Played ``factor`` times as fast: tempo and pitch change together (speed perturbation, Ko et al. 2015)."""
    import soxr

    return stored(soxr.resample(samples, rate * factor, rate))


def gain(samples: Samples, decibels: float) -> Samples:
    """Louder by ``decibels``; what goes beyond full scale is clipped there, as in a sound file."""
    return stored(samples * 10 ** (decibels / 20))


def clipped(samples: Samples, share: float) -> Samples:
    """An overdriven microphone: the loudest ``share`` of the samples is cut off at one height."""
    most = float(np.quantile(np.abs(samples), 1 - share))
    return stored(np.clip(samples, -most, most))


def stored(samples: NDArray[Any]) -> Samples:
    """As a sound file of 16 bits holds them: so machines whose last bits differ have the same samples."""
    codes = np.clip(np.rint(np.asarray(samples, np.float64) * 2**15), -(2**15), 2**15 - 1)
    return np.asarray(codes / 2**15, np.float32)


def _through(samples: NDArray[Any], rate: int, **file: Any) -> NDArray[np.float32]:
    """Written to a sound file in memory, and read again."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **file)
    buffer.seek(0)
    decoded: NDArray[np.float32] = soundfile.read(buffer, dtype="float32")[0]
    return decoded


def _fitted(samples: NDArray[Any], count: int) -> NDArray[Any]:
    """``count`` samples: what is too many is cut off, what lacks is silence."""
    return np.pad(samples[:count], (0, max(0, count - len(samples))))
