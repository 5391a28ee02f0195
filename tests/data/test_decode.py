"""Files that are damaged, lie or are none, each with the right samples or the right words."""

from __future__ import annotations

import io
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import SPEECH, waveform

from stablequant.data import LONGEST_SECONDS, Utterance, read, read_many
from stablequant.data import decode as decoding
from stablequant.errors import AudioError

RATE = 16000


def said(error):
    """The reason alone."""
    return error.value.what


def encoded(samples=None, **more):
    """A wav file's bytes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform("vm-nomore") if samples is None else samples, RATE, **({"format": "WAV"} | more))
    return bytearray(buffer.getvalue())


def unknown_length(samples, frames=0):
    """FLAC whose header does not tell its length, as written into a pipe: total samples, 36 bits, are 0."""
    content = encoded(samples, format="FLAC")
    content[21] = content[21] & 0xF0 | frames >> 32
    content[22:26] = struct.pack(">I", frames & 0xFFFFFFFF)
    return bytes(content)


@pytest.mark.parametrize("channels", [1, 3])
def test_flac_of_unknown_length_gives_every_sample(channels):
    speech = np.tile(waveform("vm-nomore"), 40)[:, None].repeat(channels, axis=1)  # more than one block
    assert soundfile.info(io.BytesIO(unknown_length(speech))).frames == 2**63 - 1
    whole = read(bytes(encoded(speech, format="FLAC")), RATE)
    assert len(whole) * channels > 2**20
    np.testing.assert_array_equal(read(unknown_length(speech), RATE), whole)


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", None), ("ogg", "VORBIS"), ("ogg", "OPUS"), ("mp3", None)])
def test_blocks_join_without_a_seam(tmp_path, monkeypatch, suffix, subtype):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, waveform("vm-nomore"), RATE, subtype=subtype)
    whole = read(path, RATE)
    monkeypatch.setattr(decoding, "_BLOCK", 1000)
    np.testing.assert_array_equal(read(path, RATE), whole)


@pytest.mark.parametrize(
    ("offset", "form", "value", "message"),
    [
        (22, "<H", 0, "cannot be decoded"),  # channels
        (22, "<H", 65535, "cannot be decoded"),
        (24, "<I", 0, "cannot be decoded"),  # sampling rate
        (24, "<I", 1, "has a sampling rate of 1 Hz"),
        (24, "<I", 2**31 - 1, "has a sampling rate of 2147483647 Hz"),
        (24, "<I", 2**32 - 1, "cannot be decoded"),
        (40, "<I", 2**30, "is cut short"),  # bytes of samples
        (40, "<I", 0, "holds no samples"),
    ],
)
def test_a_wav_header_that_lies(tmp_path, offset, form, value, message):
    content = encoded()
    assert content[36:40] == b"data"
    struct.pack_into(form, content, offset, value)
    path = tmp_path / "lie.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError) as error:
        read(path, RATE)
    assert said(error).startswith(f"{path} {message}")


def test_a_flac_header_that_claims_billions_of_frames():
    content = unknown_length(waveform("vm-nomore"), frames=2**36 - 1)
    with pytest.raises(AudioError, match=r"lasts 4294967\.3 s or more\. Expected at most 67108\.9 s"):
        read(content, RATE)


def test_one_enormous_file_does_not_end_the_others(tmp_path):
    """64 GB of silence in a file of no size, as sparse files are."""
    path = tmp_path / "enormous.w64"
    soundfile.write(path, waveform("vm-nomore"), RATE)
    content = bytearray(path.read_bytes())
    data = content.index(b"data\xf3\xac\xd3\x11")
    struct.pack_into("<q", content, 16, 2**36 + data + 24)
    struct.pack_into("<q", content, data + 16, 2**36 + 24)
    path.write_bytes(content)
    os.truncate(path, 2**36 + data + 24)
    good = [Utterance(str(n), "no more", bytes(encoded())) for n in range(2)]
    kept, skipped, _ = read_many([good[0], Utterance("big", "x", path), good[1]], RATE, 0.5)
    assert [u.id for u, _ in kept] == ["0", "1"]
    assert skipped == [("big", f"{path} lasts {2**35 / RATE:.1f} s or more")]


def test_speech_longer_than_an_utterance_is_read_only_where_no_limit_is_set():
    long = np.tile(waveform("vm-nomore"), int(LONGEST_SECONDS * RATE / len(waveform("vm-nomore"))) + 1)
    content = bytes(encoded(long))
    assert len(read(content, RATE)) == len(long)
    reasons = read_many([Utterance("a", "x", content), Utterance("b", "x", bytes(encoded()))], RATE, 0.5).skipped
    assert reasons == [("a", f": a lasts {len(long) / RATE:.1f} s or more")]
    assert not read_many([Utterance("a", "x", content)], RATE, longest=None).skipped
    with pytest.raises(AudioError, match=r"Expected at most 300 s\. Fix: cut the recording into shorter files\."):
        read(content, RATE, longest=LONGEST_SECONDS)


@pytest.mark.parametrize("write", [encoded, unknown_length])
def test_a_limit_holds_whether_the_header_tells_the_length_or_not(write):
    content = bytes(write(waveform("vm-nomore")))
    seconds = len(waveform("vm-nomore")) / RATE
    np.testing.assert_array_equal(read(content, RATE, longest=seconds), waveform("vm-nomore"))
    with pytest.raises(AudioError, match=rf"lasts {seconds:.1f} s or more\. Expected at most 0\.5 s"):
        read(content, RATE, longest=0.5)


@pytest.mark.parametrize("suffix", ["raw", "vox", "gsm", "au", "wav", "flac", ""])
def test_audio_without_a_header_is_one_bad_recording_whatever_its_ending(tmp_path, suffix):
    path = tmp_path / f"call.{suffix}"
    path.write_bytes((waveform("vm-nomore") * 32767).astype("<i2").tobytes())
    with pytest.raises(AudioError) as error:
        read(path, RATE)
    assert said(error).startswith(f"{path} cannot be decoded: ")
    kept, skipped, _ = read_many([Utterance("call", "x", path), Utterance("b", "x", bytes(encoded()))], RATE, 0.5)
    assert [u.id for u, _ in kept] == ["b"]
    assert [i for i, _ in skipped] == ["call"]


def test_an_ending_that_means_another_format_changes_nothing(tmp_path):
    for name in ("speech.raw", "speech.mp3", "speech.", "speech"):
        (tmp_path / name).write_bytes(encoded())
        np.testing.assert_array_equal(read(tmp_path / name, RATE), read(bytes(encoded()), RATE))


@pytest.mark.parametrize(
    "form", ["WAV", "WAVEX", "AIFF", "AU", "SVX", "RF64", "VOC", "W64", "NIST", "CAF", "FLAC", "MP3"]
)
def test_a_file_cut_short_is_told_in_every_format_that_can_know(form):
    whole = bytes(encoded(np.tile(waveform("vm-nomore"), 2), format=form))
    assert len(read(whole, RATE)) == pytest.approx(2 * len(waveform("vm-nomore")), abs=2500)
    with pytest.raises(AudioError, match="The audio (is cut short|cannot be decoded)"):
        read(whole[: len(whole) * 2 // 3], RATE)


NAMES = {
    "": "cannot be opened: it is a folder",
    ".": "cannot be opened: it is a folder",
    "/": "cannot be opened: it is a folder",
    "a\0b.wav": "cannot be opened: no file can have that name",
    "a\ud800.wav": "cannot be opened: no file can have that name",
    "x" * 5000: "cannot be opened: File name too long",
    "gone.wav\n": "There is no audio file",
    "gone\udcff.wav": "There is no audio file",
    str(SPEECH / "manifest.jsonl" / "a.wav"): "There is no audio file",
}


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_one_bad_recording_and_its_message_one_short_line(name):
    one = Utterance("a", "x", Path(name))
    assert (one.size, one.digest) == (-1, "missing")
    kept, skipped, _ = read_many([one, Utterance("b", "x", bytes(encoded()))], RATE, 0.5)
    assert [u.id for u, _ in kept] == ["b"]
    [(id_, why)] = skipped
    assert id_ == "a"
    assert NAMES[name] in why
    assert len(why) < 400
    why.encode()
    assert why.isprintable()


@pytest.mark.parametrize("name", ["zwei Wörter, 録音.wav", "line\n.wav", b"bytes \xff\xfe.wav", "x" * 251 + ".wav"])
def test_a_file_of_any_name_is_read(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(encoded())
    one = Utterance("a", "x", path)
    np.testing.assert_array_equal(read(one, RATE), waveform("vm-nomore"))
    assert one.size == len(encoded())


@contextmanager
def at_once():
    """Fail what waits for ten seconds."""

    def give_up(signum, frame):
        pytest.fail("it waits")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(10)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def pipe(path):
    os.mkfifo(path)


def listener(path):
    """A socket by a name: it stays when the socket is closed."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))  # a socket's name may have 107 bytes


SPECIAL = {
    "a named pipe": pipe,
    "a socket": listener,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_not_a_regular_file_is_told_without_waiting(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.wav"
    SPECIAL[kind](path)
    utterances = [Utterance("a", "x", path), Utterance("b", "x", bytes(encoded()))]
    with at_once():
        kept, skipped, _ = read_many(utterances, RATE, 0.5)
        assert (utterances[0].size, utterances[0].digest) == (-1, "missing")
    assert [u.id for u, _ in kept] == ["b"]
    assert skipped == [("a", f"{path} cannot be opened: it is {kind}")]


def test_a_loop_of_links(tmp_path):
    path = tmp_path / "a.wav"
    path.symlink_to(path)
    with pytest.raises(AudioError, match=r"a\.wav cannot be opened: Too many levels of symbolic links"):
        read(path, RATE)


@contextmanager
def as_nobody():
    """Root may read everything: be someone else for a while."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_read(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded())
    (tmp_path / "a.wav").chmod(0)
    with as_nobody(), pytest.raises(AudioError, match=r"a\.wav cannot be opened: Permission denied"):
        read(tmp_path / "a.wav", RATE)


@pytest.mark.parametrize(
    ("put_there", "message"), [(lambda path: None, "There is no audio file"), (pipe, "it is a named pipe")]
)
def test_a_file_that_vanishes_or_changes_between_the_look_and_the_opening(tmp_path, monkeypatch, put_there, message):
    path, opened = tmp_path / "a.wav", os.open
    path.write_bytes(encoded())

    def replaced(name, flags):
        path.unlink()
        put_there(path)
        return opened(name, flags)

    monkeypatch.setattr(os, "open", replaced)
    with at_once(), pytest.raises(AudioError, match=message):
        read(path, RATE)


def test_a_recording_that_does_not_fit_into_memory_is_that_recordings_fault(tmp_path):
    """In a process of its own, whose address space is limited: ten minutes at 192 kHz fit nowhere there."""
    path = tmp_path / "large.wav"
    soundfile.write(path, np.zeros((60 * 192000, 2), np.int16), 192000)
    (tmp_path / "small.wav").write_bytes(encoded())
    script = f"""
        import resource, soundfile, soxr, numpy
        from pathlib import Path
        from stablequant.data import Utterance, read_many
        small, large = (Utterance(n, "x", Path({str(tmp_path)!r}) / f"{{n}}.wav") for n in ("small", "large"))
        read_many([small], 16000)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 60_000_000, used + 60_000_000))
        found = read_many([large, small], 16000, 0.5)
        print([u.id for u, _ in found.kept], found.skipped)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert ran.stdout == f"['small'] {[('large', f'{path} does not fit into memory')]}\n", ran.stderr


def test_the_limits_are_what_their_comments_say():
    assert decoding.MOST_FRAMES * 4 == 4 * 2**30
    assert 18 < decoding.MOST_FRAMES / RATE / 3600 < 19
    assert resource.getpagesize() < decoding._BLOCK * 4
