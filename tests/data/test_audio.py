import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stablequant.data import Utterance, load, read, read_many
from stablequant.errors import AudioError, SettingsError

ASTERISK = Path(__file__).parents[2] / "examples" / "asterisk"


def tone(rate=16000, seconds=1.0, hertz=440.0):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def utterance(path, id_="u", text="a tone", **more):
    return Utterance(id=id_, text=text, audio=path, source="here", **more)


def damaged(path, keep):
    """Cut a file to its first part."""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_any_format_and_rate_gives_the_same_tone(tmp_path, suffix, rate):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(rate), rate)
    samples = read(path, 16000)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(16000, abs=200)
    assert np.abs(samples).max() <= 1
    # Away from the ends, where filters and codecs ring; lossy codecs may shift the phase, not the loudness.
    middle = samples[4000:12000]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 220  # bins of 2 Hz


def test_resampling_keeps_the_phase_and_removes_what_would_alias(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(48000) + tone(48000, hertz=15000), 48000, subtype="FLOAT")
    np.testing.assert_allclose(read(path, 16000)[1000:-1000], tone(16000)[1000:-1000], atol=1e-3)


def test_channels_are_averaged_and_overshoot_is_clipped(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.array([[0.5, 0.1], [1.5, 0.9], [-1.5, -1.5]]), 16000, subtype="FLOAT")
    np.testing.assert_allclose(read(str(path), 16000), [0.3, 1.0, -1.0], rtol=1e-6)


def test_bytes_and_utterances_read_like_files():
    first = load([str(ASTERISK)])[0]
    from_file = read(first, 16000)
    np.testing.assert_array_equal(from_file, read(first.audio.read_bytes(), 16000))
    np.testing.assert_array_equal(from_file, soundfile.read(first.audio, dtype="float32")[0])
    assert len(from_file) / 16000 == pytest.approx(first.duration, abs=0.01)


@pytest.mark.parametrize(("suffix", "keep"), [("flac", 0.5), ("wav", 0.5), ("aiff", 0.5), ("mp3", 0.5), ("ogg", 0.1)])
def test_a_file_cut_short_is_told(tmp_path, suffix, keep):
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, tone(seconds=3), 16000)
    with pytest.raises(AudioError, match=rf"cut\.{suffix} (is cut short|cannot be decoded)"):
        read(damaged(path, keep), 16000)


def test_a_cut_that_the_format_hides_is_told_by_the_duration(tmp_path):
    path = tmp_path / "cut.ogg"
    noise = np.random.default_rng(0).normal(0, 0.1, 48000)  # what takes many Ogg pages to store
    soundfile.write(path, noise, 16000)
    assert len(read(utterance(path, duration=3.2), 16000)) == pytest.approx(48000, abs=10)
    with pytest.raises(AudioError, match=r"cut\.ogg lasts .* its manifest says 3\.00 s"):
        read(utterance(damaged(path, 0.5), duration=3.0), 16000)


def test_a_wav_written_into_a_pipe_is_whole(tmp_path):
    path = tmp_path / "piped.wav"
    soundfile.write(path, tone(), 16000)
    content = bytearray(path.read_bytes())
    size = content.index(b"data") + 4
    content[size : size + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(read(path, 16000)) == 16000


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0), "holds no samples"),
        (np.array([0.0, np.nan]), "holds NaN"),
        (np.array([0.0, -np.inf]), "holds NaN or infinite"),
        (np.array([0.0, 20000.0]), r"reaches 20000.*in \[-1, 1\]"),
    ],
)
def test_unusable_samples(tmp_path, samples, message):
    path = tmp_path / "odd.wav"
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=rf"odd\.wav {message}"):
        read(path, 16000)


def test_what_is_not_audio(tmp_path):
    (tmp_path / "notes.wav").write_text("not audio")
    (tmp_path / "empty.flac").touch()
    for name, message in (
        ("notes.wav", "cannot be decoded"),
        ("empty.flac", "cannot be decoded"),
        ("no.wav", "no"),
    ):
        with pytest.raises(AudioError, match=rf"{message}.*{name}|{name} {message}"):
            read(tmp_path / name, 16000)
    with pytest.raises(AudioError, match="cannot be opened: it is a folder"):
        read(tmp_path, 16000)
    with pytest.raises(AudioError, match="here: u cannot be decoded"):
        read(utterance(b"junk"), 16000)


def test_one_bad_file_in_a_hundred_is_skipped_and_told(tmp_path):
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(seconds=0.01), 16000, format="WAV")
    good = [utterance(buffer.getvalue(), str(n)) for n in range(99)]
    missing = utterance(tmp_path / "gone.wav", "gone")
    kept, skipped, notes = read_many([*good[:50], missing, *good[50:]], 16000)
    assert [u.id for u, _ in kept] == [str(n) for n in range(99)]
    assert all(len(samples) == 160 for _, samples in kept)
    assert notes == []
    assert skipped == [("gone", f"There is no audio file {tmp_path / 'gone.wav'}")]

    with pytest.raises(AudioError, match=r"1 of 99 .*gone\.wav.*at most 1\.00% bad.*max_bad_fraction"):
        read_many([*good[:98], missing], 16000)
    assert len(read_many([*good[:98], missing], 16000, max_bad_fraction=0.02).kept) == 98


def test_an_empty_transcript_is_a_bad_recording(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 16000)
    one = utterance(path)
    with pytest.raises(AudioError, match=r"1 of 2 .*a\.wav has an empty transcript \(here\)"):
        read_many([one, replace(one, id="v", text=" ")], 16000)
    assert read_many([one, replace(one, id="v", text="")], 16000, 0.5).skipped[0][0] == "v"


def test_many_bad_files_are_counted_and_the_first_listed(tmp_path):
    gone = [utterance(tmp_path / f"{n}.wav", str(n)) for n in range(8)]
    with pytest.raises(AudioError, match=r"8 of 8 recordings .*4\.wav; and 3 more"):
        read_many(gone, 16000)
    with pytest.raises(AudioError, match="8 of 8"):  # a setting cannot make something of nothing
        read_many(gone, 16000, max_bad_fraction=1)
    with pytest.raises(SettingsError, match="from 0 to 1"):
        read_many(gone, 16000, max_bad_fraction=2)
