"""Long recordings come in pieces that are the same however they arrive, and never whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import waveform, waveforms

from stablequant.data import decode as decoding
from stablequant.data.audio import open_stream, read
from stablequant.data.pieces import Piece, cut
from stablequant.errors import AudioError

RATE = 16000


def seconds_of(pieces: list[Piece]) -> list[float]:
    return [len(piece.samples) / RATE for piece in pieces]


def test_a_cut_is_in_the_pause_wherever_a_block_ends() -> None:
    sounds = [*waveforms(), waveform("vm-nomore")]
    pause = np.zeros(RATE // 2, np.float32)
    whole = np.concatenate([part for sound in sounds for part in (sound, pause)])
    pieces = list(cut([whole], RATE, 2.5))
    assert len(pieces) > 3
    assert max(seconds_of(pieces)) <= 2.5
    np.testing.assert_array_equal(np.concatenate([piece.samples for piece in pieces]), whole)
    starts = np.cumsum([0.0, *seconds_of(pieces)[:-1]])
    np.testing.assert_allclose([piece.start for piece in pieces], starts)
    for piece in pieces[1:]:
        at = round(piece.start * RATE)
        assert np.abs(whole[at - RATE // 10 : at + RATE // 10]).max() < 1e-3

    for size in (7, 1000, 41_000):
        arrived = list(cut((whole[i : i + size] for i in range(0, len(whole), size)), RATE, 2.5))
        assert [piece.start for piece in arrived] == [piece.start for piece in pieces]
        assert all(np.array_equal(a.samples, b.samples) for a, b in zip(arrived, pieces, strict=True))


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_a_stream_gives_what_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    sound = np.tile(waveform("vm-nomore"), 3)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([sound, -0.9 * sound], 1), rate, subtype="FLOAT")  # the channels cancel
    monkeypatch.setattr(decoding, "_BLOCK", 5000)
    stream = open_stream(path, RATE)
    blocks = list(stream.blocks())
    assert len(blocks) > 5
    np.testing.assert_allclose(np.concatenate(blocks), read(path, RATE), atol=1e-5)
    assert [note.removeprefix(f"{path} ")[:37] for note in stream.notes] == ["has channels in opposite phase, which"]


def test_a_recording_that_changes_while_it_is_used_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, waveform("vm-nomore"), RATE)
    stream = open_stream(path, RATE)
    soundfile.write(path, waveform("vm-nomore")[:9000], RATE)
    with pytest.raises(AudioError, match="has changed while it was transcribed: 9000 samples"):
        list(stream.blocks())
