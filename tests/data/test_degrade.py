"""What becomes of a waveform under each condition, measured on the samples."""

from __future__ import annotations

import numpy as np
import pytest
from support import CALIBRATION, waveform, waveforms

from stablequant.data import degrade
from stablequant.data.level import PAUSE, rms, signal_to_noise, speech_level

RATE = 16000
SPEECH = waveform("vm-nomore")
OTHERS = waveforms(CALIBRATION)


def decibels(ratio: float) -> float:
    return 20 * np.log10(ratio)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tone(hertz: float, seconds: float = 1.0, height: float = 0.5) -> np.ndarray:
    return (height * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def loudest(samples: np.ndarray) -> float:
    """The frequency with most energy, in hertz."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples))


@pytest.mark.parametrize("level", [20.0, 10.0, 0.0])
def test_noise_and_babble_lie_as_far_below_the_speech_as_was_asked(level: float) -> None:
    quiet = SPEECH * 0.2  # so that nothing is clipped
    for noisy in (
        degrade.noise(quiet, RATE, level, random()),
        degrade.babble(quiet, RATE, level, OTHERS, random()),
    ):
        assert decibels(speech_level(quiet, RATE) / rms(noisy - quiet)) == pytest.approx(level, abs=0.02)


def test_pauses_do_not_count_as_speech() -> None:
    spoken = tone(300)
    padded = np.concatenate([np.zeros(4 * RATE, np.float32), spoken, spoken * 10 ** (-(PAUSE + 3) / 20)])
    assert speech_level(padded, RATE) == pytest.approx(rms(spoken), rel=1e-3)
    assert speech_level(np.zeros(RATE), RATE) == speech_level(np.zeros(0), RATE) == 0


def test_pink_noise_has_as_much_power_in_each_octave() -> None:
    power = np.abs(np.fft.rfft(degrade.pink_noise(20 * RATE, RATE, random()))) ** 2
    octaves = [power[20 * low : 40 * low].sum() for low in (125, 250, 500, 1000, 2000)]
    assert octaves == pytest.approx([np.mean(octaves)] * 5, rel=0.1)
    assert power[: 20 * 49].sum() < 1e-9 * power.sum()


def test_a_telephone_passes_its_band_alone_in_256_codes() -> None:
    for hertz in (500, 1000, 2500):
        assert decibels(rms(degrade.telephone(tone(hertz), RATE)) / rms(tone(hertz))) == pytest.approx(0, abs=1)
    for hertz in (60, 6000):
        assert decibels(rms(degrade.telephone(tone(hertz), RATE)) / rms(tone(hertz))) < -30
    # Codes of G.711 grow with the sample: about 37 dB of signal to noise whatever the level.
    for height in (0.5, 0.05):
        sent = tone(1000, height=height)
        received = degrade.telephone(sent, RATE)[RATE // 4 : -RATE // 4]
        assert 32 < decibels(rms(sent) / rms(received - sent[RATE // 4 : -RATE // 4])) < 45


def test_a_codec_keeps_time_and_words_and_fewer_bits_keep_less() -> None:
    errors = []
    for kilobits in (8.0, 64.0):
        coded = degrade.codec(SPEECH, RATE, kilobits)
        assert len(coded) == len(SPEECH)
        errors.append(decibels(rms(coded - SPEECH) / rms(SPEECH)))
    assert errors[1] < -20 < errors[0] < -5


def test_a_room_s_sound_falls_by_60_db_in_the_time_told() -> None:
    click = np.zeros(2 * RATE, np.float32)
    click[0] = 0.5
    response = degrade.reverb(click, RATE, 0.6, random()).astype(np.float64)
    left = np.cumsum(response[::-1] ** 2)[::-1]  # Schroeder's backward integration
    fall = 10 * np.log10(np.maximum(left, 1e-20) / left[0])
    reached = [int((fall < -d).argmax()) / RATE for d in (5, 25)]
    assert 3 * (reached[1] - reached[0]) == pytest.approx(0.6, rel=0.1)
    # The direct sound has half of the energy: the rest is as loud.
    assert response[0] ** 2 / np.sum(response**2) == pytest.approx(0.5, abs=0.01)
    assert rms(degrade.reverb(SPEECH * 0.3, RATE, 0.6, random())) == pytest.approx(rms(SPEECH * 0.3), rel=1e-3)


def test_speed_changes_tempo_and_pitch() -> None:
    slow = degrade.speed(tone(1000), RATE, 0.9)
    assert len(slow) == pytest.approx(RATE / 0.9, abs=1)
    assert loudest(slow) == pytest.approx(900, abs=2)


def test_gain_is_exact_and_ends_at_full_scale() -> None:
    assert degrade.gain(SPEECH, -20) == pytest.approx(SPEECH / 10, abs=2**-16)
    assert np.abs(degrade.gain(SPEECH, 40)).max() == 1
    assert np.array_equal(degrade.gain(SPEECH, 0), SPEECH)  # a recording of 16 bits


def test_as_many_samples_are_cut_off_as_was_asked() -> None:
    cut = degrade.clipped(SPEECH, 0.05)
    assert np.mean(np.abs(cut) >= np.abs(cut).max() - 2**-15) == pytest.approx(0.05, abs=0.002)
    below = np.abs(SPEECH) < np.abs(cut).max()
    assert np.array_equal(cut[below], SPEECH[below])


def test_signal_to_noise_is_estimated_where_it_can_be() -> None:
    spoken = np.concatenate([tone(300), np.zeros(RATE, np.float32)])
    noisy = spoken + 0.01 * random().standard_normal(len(spoken))
    assert signal_to_noise(noisy, RATE) == pytest.approx(decibels(rms(tone(300)) / 0.01), abs=1)
    assert signal_to_noise(spoken, RATE) is None  # pauses of digital silence
    assert signal_to_noise(noisy[: RATE // 10], RATE) is None
