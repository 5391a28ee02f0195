import io
import os
import sys
from pathlib import Path

import pytest
import soundfile
from support import waveform
from test_decode import as_nobody, pipe

from stablequant.data import AUDIO_ENDINGS, read, recordings_in
from stablequant.data.folder import FORMAT_ENDINGS
from stablequant.errors import DataError

#: Formats that libsndfile reads and that are not searched for, see `FORMAT_ENDINGS`. WAVEX is wav.
NO_RECORDINGS = {"RAW", "MAT4", "MAT5", "HTK", "XI", "SDS", "MPC2K", "SD2", "WVE", "WAVEX"}


def test_every_format_that_soundfile_reads_is_searched_for_or_left_out_on_purpose():
    assert set(soundfile.available_formats()) == {*FORMAT_ENDINGS, *NO_RECORDINGS}
    assert len(set(AUDIO_ENDINGS)) == len(AUDIO_ENDINGS)


@pytest.mark.parametrize(("form", "ending"), [(f, e) for f, endings in FORMAT_ENDINGS.items() for e in endings])
def test_a_recording_with_each_ending_is_found_and_read(tmp_path, form, ending):
    path = tmp_path / f"A{ending.upper()}"
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform("vm-nomore"), 16000, format=form, subtype="OPUS" if ending == ".opus" else None)
    path.write_bytes(buffer.getvalue())
    assert recordings_in(tmp_path) == ([path], [])
    assert len(read(path, 16000)) == pytest.approx(len(waveform("vm-nomore")), abs=2500)


def test_what_is_left_out_is_listed_with_the_reason(tmp_path):
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for name in ("b.wav", "sub/a.FLAC", "sub/deep/c.opus", ".git/d.wav", "._b.wav", "e.m4a", "README", "line\n.tx\nt"):
        (tmp_path / name).touch()
    (tmp_path / "link.wav").symlink_to("b.wav")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.wav").symlink_to("nowhere")
    (tmp_path / os.fsdecode(b"\xff.wav")).touch()
    pipe(tmp_path / "pipe.wav")
    found, left_out = recordings_in(tmp_path)
    assert [str(p.relative_to(tmp_path)) for p in found] == [
        "b.wav",
        "link.wav",
        "sub/a.FLAC",
        "sub/deep/c.opus",
        "\udcff.wav",
    ]
    assert {str(p.relative_to(tmp_path)): why for p, why in left_out} == {
        ".git": "is hidden",
        "._b.wav": "is hidden",
        "README": "has no ending",
        "e.m4a": "has the ending .m4a, which no known recording has",
        "line\n.tx\nt": r"has the ending .tx\nt, which no known recording has",
        "gone.wav": "cannot be opened: No such file or directory",
        "loop": "cannot be opened: it is a folder",
        "pipe.wav": "cannot be opened: it is a named pipe",
    }


def test_a_folder_that_may_not_be_read(tmp_path):
    (tmp_path / "in" / "shut").mkdir(parents=True)
    (tmp_path / "in" / "a.wav").touch()
    (tmp_path / "in" / "shut").chmod(0)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.name.startswith(("pytest", "popen", "test")):  # pytest's own, and those of its workers
            parent.chmod(0o755)
    with as_nobody():
        found, left_out = recordings_in(tmp_path / "in")
        assert found == [tmp_path / "in" / "a.wav"]
        assert left_out == [(tmp_path / "in" / "shut", "cannot be opened: Permission denied")]
        with pytest.raises(DataError, match="shut cannot be opened: Permission denied.*a folder that may be read"):
            recordings_in(tmp_path / "in" / "shut")


def test_a_folder_that_is_none(tmp_path):
    for name in ("gone", "a\0b", "x" * 300):
        with pytest.raises(DataError, match="cannot be opened"):
            recordings_in(tmp_path / name)


def test_folders_nested_deeper_than_pythons_stack(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    depth = sys.getrecursionlimit() + 200
    for _ in range(depth):
        os.mkdir("d")  # noqa: PTH102 - step by step
        os.chdir("d")
    soundfile.write("b.wav", waveform("vm-nomore"), 16000)
    found, left_out = recordings_in(tmp_path)
    assert [len(path.relative_to(tmp_path).parts) for path in found] == [depth + 1]
    assert left_out == []
    Path("b.wav").unlink()
    for _ in range(depth):  # what cleans up after tests recurses
        os.chdir("..")
        os.rmdir("d")  # noqa: PTH106
