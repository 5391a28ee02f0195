"""A damaged recording is samples that a model can take, or an AudioError: nothing else comes out."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support import waveform

from stablequant.data import read_recording
from stablequant.errors import AudioError

FORMS = ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "NIST", "W64", "RF64", "VOC"]


@cache
def whole(form: str) -> bytes:
    buffer = io.BytesIO()
    stereo = np.stack([waveform("vm-nomore"), -waveform("vm-nomore")], axis=1)
    soundfile.write(buffer, stereo, 16000, format=form)
    return buffer.getvalue()


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=40, derandomize=True, deadline=None, database=None)
@given(st.data())
def test_any_damage(form, data):
    content = bytearray(whole(form))
    # Mostly in the header, where a few bytes change what all the others mean.
    place = st.integers(0, 100) | st.integers(0, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(place)] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))]
    try:
        samples, notes = read_recording(bytes(content), 16000, longest=300)
    except AudioError as error:
        assert error.what.startswith(("The audio ", "There is no audio"))
        return
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert 0 < len(samples) <= 300 * 16000 + 1
    assert np.abs(samples).max() <= 1
    assert all(note.startswith("The audio ") for note in notes)
