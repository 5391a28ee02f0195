"""What is odd about a recording that is used all the same."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from support import SHORT, waveform, waveforms

from stablequant.data import Utterance, all_silent, read, read_many, require_sound
from stablequant.data.speech import Speech
from stablequant.errors import DataError

RATE = 16000
SPEECH = waveform("vm-nomore")


def encoded(samples, rate=RATE, **more):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **({"format": "WAV", "subtype": "FLOAT"} | more))
    return buffer.getvalue()


def notes(samples, **more):
    """What is said of a recording, after its name."""
    kept, _, found = read_many([Utterance("a", "x", encoded(samples, **more), source="here")], RATE)
    assert len(kept) == 1
    assert all(id_ == "a" and note.startswith("here: a ") for id_, note in found)
    return [note.removeprefix("here: a ") for _, note in found]


@pytest.mark.parametrize("rate", [RATE, 48000])
def test_opposite_phase_gives_one_channel_and_says_so(rate):
    for channels, loudest in (
        ([SPEECH, -SPEECH], 0),
        ([0.9 * SPEECH, -SPEECH], 1),
        ([0.1 + SPEECH, 0.1 - SPEECH], 0),  # an offset, the same in both, is no sound
        ([0.5 * SPEECH, -0.5 * SPEECH, SPEECH, -SPEECH], 2),
    ):
        stereo = np.stack(channels, axis=1)
        expected = read(encoded(stereo[:, loudest], rate), RATE)
        np.testing.assert_array_equal(read(encoded(stereo, rate), RATE), expected)
        assert notes(stereo, rate=rate) == [
            f"has channels in opposite phase, which cancel in their mean: channel {loudest + 1} is used alone"
        ]


def test_channels_that_do_not_cancel_are_averaged_without_a_note():
    other = np.resize(waveform("do-not-disturb"), SPEECH.shape)
    for channels in (
        [SPEECH, SPEECH],
        [SPEECH, 0 * SPEECH],
        [SPEECH, other],
        [0 * SPEECH] * 7 + [SPEECH],
        [SPEECH, np.roll(SPEECH, 8)],  # two microphones 17 cm apart
        [0 * SPEECH, 0 * SPEECH],
    ):
        stereo = np.stack(channels, axis=1)
        np.testing.assert_allclose(read(encoded(stereo), RATE), stereo.mean(axis=1), atol=1e-6)
        assert [note for note in notes(stereo) if "phase" in note] == []


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_U8", "ULAW", "ALAW", "FLOAT"])
def test_clipped_speech_is_told_and_loud_speech_is_not(subtype):
    full = SPEECH / np.abs(SPEECH).max()
    assert notes(full, subtype=subtype) == []
    [note] = notes(np.clip(3 * full, -1, 1), subtype=subtype)
    share = np.mean(np.abs(3 * full) >= 0.98)
    assert note == f"is clipped: {share:.1%} of its samples are at full scale" or subtype not in ("PCM_16", "FLOAT")
    assert note.startswith("is clipped: ")


def test_one_clipped_channel_of_two_is_told():
    full = SPEECH / np.abs(SPEECH).max()
    [note] = notes(np.stack([0.1 * full, np.clip(3 * full, -1, 1)], axis=1))
    assert note.startswith("is clipped: ")


def test_silence_and_quiet_are_told():
    dither = np.random.default_rng(0).integers(-1, 2, RATE) / 32768
    for samples in (np.zeros(RATE), np.full(RATE, 0.25), dither):
        assert notes(samples) == ["is silent"]
    assert notes(SPEECH) == []
    quiet = SPEECH * 1e-4 / SPEECH.std()
    assert notes(quiet) == ["is very quiet, 80 dB below full scale"]
    np.testing.assert_allclose(read(encoded(quiet), RATE), quiet, rtol=1e-6)


def test_an_ogg_stream_without_its_end_may_be_cut_short():
    whole = encoded(np.tile(SPEECH, 10), format="OGG", subtype="VORBIS")
    end = whole.rindex(b"OggS")
    [(_, note)] = read_many([Utterance("a", "x", whole[:end])], RATE).notes
    assert note == ": a may be cut short: its last Ogg page has no end mark"
    assert read_many([Utterance("a", "x", whole)], RATE).notes == []


def test_real_speech_has_no_notes():
    recordings = [Utterance(name, "x", encoded(waveform(name))) for name in SHORT]
    assert read_many(recordings, RATE).notes == []


def test_speech_carries_the_notes_of_what_it_kept():
    utterances = [Utterance("a", "x", encoded(SPEECH)), Utterance("b", "x", encoded(np.zeros(RATE)))]
    speech = Speech.read(utterances, RATE, max_bad_fraction=0.0, batch_size=2, batch_seconds=100.0)
    assert speech.notes == (("b", ": b is silent"),)


def test_all_silent_only_if_every_waveform_is():
    silence = [np.zeros(RATE, np.float32), np.full(100, 1e-6, np.float32)]
    assert all_silent(silence)
    assert not all_silent([*silence, *waveforms()])
    assert not all_silent([SPEECH * 1e-3])
    assert not all_silent([])
    assert all_silent([read(encoded(np.zeros(4800), 48000), RATE)])
    with pytest.raises(
        DataError, match=r"the calibration speech is silent: .* Expected recordings with sound\. Fix: check"
    ):
        require_sound(silence, "calibration")
    require_sound([*silence, SPEECH], "calibration")
