"""Whatever a line of a manifest holds is used, or refused by file, line and field."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from test_decode import SPECIAL, as_nobody, at_once

from stablequant.data import fingerprint, load, make_splits, readers
from stablequant.errors import DataError, SettingsError

GOOD = {"audio": "a.wav", "text": "hello"}


def load_bytes(tmp_path, content, name="m.jsonl"):
    path = tmp_path / name
    path.write_bytes(content)
    return load([str(path)])


def load_row(tmp_path, **more):
    return load_bytes(tmp_path, json.dumps(GOOD | more).encode())[0]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("audio", 3, "has the audio 3. Expected a string under one of audio,"),
        ("audio", ["a.wav"], "has the audio [...] (a list). Expected a string"),
        ("audio", {"path": "a.wav"}, "has the audio {...} (an object). Expected a string"),
        ("audio", True, "has the audio True. Expected a string"),
        ("audio", None, "has no audio. Expected a string"),
        ("audio", "", "has no audio. Expected a string"),
        ("text", 3.5, "has the text 3.5. Expected a string"),
        ("text", ["hello"], "has the text [...] (a list). Expected a string"),
        ("text", "a\0b", r"has the character \x00 in its text. Expected Unicode text without NUL. Fix:"),
        ("text", "a\ud800b", r"has the character \ud800 in its text"),
        ("text", "a\udcffb", r"has the character \udcff in its text"),
        ("id", ["a"], "has the id [...] (a list). Expected a string or a number."),
        ("id", {"a": 1}, "has the id {...} (an object)"),
        ("id", False, "has the id False"),
        ("id", "a\udfff", r"has the character \udfff in its id"),
        ("speaker", {"name": "a"}, "has the speaker {...} (an object). Expected a string or a number."),
        ("speaker", float("nan"), "has the speaker nan"),
        ("speaker", "\0", r"has the character \x00 in its speaker"),
        ("split", 3, "has the split 3. Expected one of calibration, dev, test"),
        ("split", ["dev"], "has the split [...] (a list)"),
        ("split", True, "has the split True"),
        ("split", "\ud800", r"has the split '\ud800'"),
        ("duration", "1e999", "has the duration '1e999'. Expected seconds, more than 0."),
        ("duration", float("inf"), "has the duration inf"),
        ("duration", float("nan"), "has the duration nan"),
        ("duration", 10**400, "has the duration 1000000"),
        ("duration", [1], "has the duration [...] (a list)"),
        ("duration", True, "has the duration True"),
        ("duration", 0, "has the duration 0"),
        ("offset", [0], "has an offset into a longer recording"),
        ("offset", "later", "has an offset"),
    ],
)
def test_a_field_that_cannot_be_used_is_named_with_file_and_line(tmp_path, field, value, message):
    content = json.dumps(GOOD) + "\n" + json.dumps(GOOD | {"id": "b", field: value})
    with pytest.raises(DataError) as error:
        load_bytes(tmp_path, content.encode())
    assert str(error.value).startswith(f"{tmp_path / 'm.jsonl'}:2 {message}")
    assert len(error.value.what) < 500
    str(error.value).encode()


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("id", 7, "7"),
        ("id", 1.5, "1.5"),
        ("id", "", "a"),
        ("id", "日本", "日本"),
        ("speaker", 3.0, "3.0"),
        ("speaker", "", None),
        ("duration", "2.5", 2.5),
        ("duration", 3, 3.0),
        ("split", "Validation", "dev"),
        ("text", "", ""),
        ("text", "👋 \u2028 naïve", "👋 \u2028 naïve"),
    ],
)
def test_a_field_that_can_be_used(tmp_path, field, value, expected):
    assert getattr(load_row(tmp_path, **{field: value}), field) == expected


@pytest.mark.parametrize("offset", [0, 0.0, "0", "0.0", None, ""])
def test_an_offset_of_nothing_is_none(tmp_path, offset):
    assert load_row(tmp_path, offset=offset).text == "hello"


@pytest.mark.parametrize(
    "name", [".", "/", "..", "a\0b.wav", "a\ud800.wav", "a\udcff.wav", "x" * 5000, "a.wav\n", "~x"]
)
def test_any_name_of_a_recording_is_loaded_and_divided(tmp_path, name):
    """Whether there can be such a file is that one recording's matter, see test_decode."""
    rows = [GOOD | {"audio": audio} for audio in ("b.wav", "c.wav", name)]
    found = load_bytes(tmp_path, "\n".join(map(json.dumps, rows)).encode())
    assert found[2].audio == tmp_path / name
    found[2].id.encode()
    assert len(found[2].id) <= 310
    splits = make_splits(found)
    assert len(splits.calibration + splits.dev + splits.test) == 3
    assert len(fingerprint(found)) == 64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000 + b"]" * 100_000, ":1 is not JSON (nested too deeply)"),
        (b'{"audio": ' + b'{"a": ' * 100_000, ":1 is not JSON (nested too deeply)"),
        (b'\n\n{"duration": 1' + b"0" * 5000 + b"}", ":3 is not JSON (a number has too many digits)"),
        (b'{"audio": "a"', ":1 is not JSON (Expecting ',' delimiter at column 14)"),
        (
            '{"audio": "a.wav", "text": "x"}'.encode("utf-16"),
            ":1 cannot be read as text: it is UTF-16. Expected a UTF-8",
        ),
        ('{"audio": "a.wav", "text": "x"}'.encode("utf-16-be"), ":1 is not JSON ("),
        ('{"text": "x"}\n{"text": "é"}'.encode("latin-1"), ":1 has no audio"),
        (b'{"audio": "a.wav", "text": "x"}\n{"text": "\xe9"}', ":2 cannot be read as text: 'utf-8' codec"),
        (b"\x00" * 100, ":1 is not JSON"),
        (b"\xef\xbb\xbf", " holds no utterance"),
        (b'{"audio": "a.wav",\n"text": "x"}', ":1 is not JSON"),
        (b'[{"audio": "a.wav", "text": "x"}]', ":1 is a JSON list. Expected one JSON object a line."),
        (b"null", ":1 is a JSON NoneType"),
    ],
)
def test_a_damaged_manifest_is_named_with_its_line(tmp_path, content, message):
    with pytest.raises(DataError) as error:
        load_bytes(tmp_path, content)
    assert str(error.value).startswith(f"{tmp_path / 'm.jsonl'}{message}")


def test_an_enormous_line_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(GOOD) + "\n")
    os.truncate(path, 2**36)  # NULs that take no room on the disk
    with pytest.raises(DataError, match=rf"m\.jsonl:2 is longer than {readers.LONGEST_LINE} bytes"):
        load([str(path)])


def test_a_long_line_is_read(tmp_path):
    assert load_row(tmp_path, words=["x" * 1000] * 1000).text == "hello"


def test_a_byte_order_mark_and_dos_line_ends(tmp_path):
    content = (
        b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(GOOD | {"id": i, "text": "x\r"}).encode() for i in "ab") + b"\r\n"
    )
    assert [(u.id, u.text) for u in load_bytes(tmp_path, content)] == [("a", "x\r"), ("b", "x\r")]


HEADER = b"path\tsentence\tlocale\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + b"a.mp3\thello\n", ":2 has 2 columns where the header has 3"),
        (HEADER + b"a.mp3\the\tllo\ten\n", ":2 has 4 columns where the header has 3. Expected as many tabs"),
        (HEADER + b"a.mp3\thel\0lo\ten\n", r":2 has the character \x00 in its sentence" ""),
        (HEADER + b"\thello\ten\n", ":2 has no audio"),
        (b"path\tpath\nx\ty\n", ":1 names the column path twice"),
        (b"path,sentence\na.mp3,hello\n", ":2 has no audio"),
        (b"path\tsentence\n".decode().encode("utf-16"), ":1 cannot be read as text: it is UTF-16"),
        (b"", " holds no utterance"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(tmp_path, content, message):
    with pytest.raises(DataError) as error:
        load_bytes(tmp_path, content, "m.tsv")
    assert str(error.value).startswith(f"{tmp_path / 'm.tsv'}{message}".replace("sentence", "text"))


def test_a_table_keeps_quotes_and_long_fields(tmp_path):
    long = "x" * 200_000
    one, two = load_bytes(tmp_path, HEADER + f'a.mp3\t"So\ten\r\nb.mp3\t{long}\ten\n'.encode(), "m.tsv")
    assert (one.text, two.text) == ('"So', long)


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_manifest_that_is_no_file(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    SPECIAL[kind](tmp_path / "manifest.jsonl")
    for spec in (tmp_path, tmp_path / "manifest.jsonl"):
        with at_once(), pytest.raises(DataError) as error:
            load([str(spec)])
        told = "holds neither" if kind == "a folder" and spec != tmp_path else f"cannot be read as text: it is {kind}"
        assert str(error.value).startswith(f"{tmp_path / 'manifest.jsonl'} {told}")


def test_a_manifest_that_may_not_be_read(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(GOOD))
    path.chmod(0)
    with as_nobody(), pytest.raises(DataError, match=r"m\.jsonl cannot be (opened|read as text): Permission denied"):
        load([str(path)])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "The data source '' is an empty path. Expected a LibriSpeech folder"),
        (" ", "The data source ' ' is an empty path."),
        ("a\0.jsonl", r"a\x00.jsonl cannot be opened: no file can have that name."),
        ("a\ud800.jsonl", r"a\ud800.jsonl cannot be opened: no file can have that name."),
        ("x" * 5000, "xxx"),
        ("gone/m.jsonl", "There is no gone/m.jsonl."),
        ("~nobody-of-that-name/m.jsonl", "There is no ~nobody-of-that-name/m.jsonl."),
        ("/dev/null", "/dev/null is in no known form."),
    ],
)
def test_a_source_that_is_none(spec, message):
    with pytest.raises(DataError) as error:
        load([spec])
    assert str(error.value).startswith(message)
    assert len(error.value.what) < 400


def test_one_string_is_not_a_list_of_sources():
    with pytest.raises(SettingsError, match=r"The data sources are one string, 'a, b'.*Fix: give \['a, b'\]"):
        load("a, b")


@pytest.mark.parametrize("name", ["calls, 2024", "two words", "a,b", "Gespräche", "line\nfeed", b"\xff\xfe", "a" * 200])
def test_sources_and_recordings_in_a_folder_of_any_name(tmp_path, name):
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    (folder / "m.jsonl").write_text(json.dumps(GOOD | {"audio": "x, y.wav"}))
    (folder / "n.jsonl").write_text(json.dumps(GOOD))
    one, two = load([str(folder / "m.jsonl"), str(folder / "n.jsonl")])
    assert (one.audio, two.audio) == (folder / "x, y.wav", folder / "a.wav")
    assert one.source.endswith("m.jsonl:1")
    one.source.encode()
    assert "\n" not in one.source


def test_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.wav").touch()
    (tmp_path / "sub").mkdir()
    row = GOOD | {"audio": "~/x.wav"}
    (tmp_path / "sub" / "m.jsonl").write_text(json.dumps(row))
    [found] = load(["~/sub/m.jsonl"])
    assert found.audio == tmp_path / "x.wav"
    assert found.source == f"{tmp_path}/sub/m.jsonl:1"
    assert [u.audio for u in load(["~/sub/m.jsonl"])] == [Path(tmp_path / "x.wav")]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\x00\x80", ":1 cannot be read as text"), (b"a-1 HE\0LLO\n", r":1 has the character \x00 in its text")],
)
def test_a_binary_transcript_of_a_librispeech_folder(tmp_path, content, message):
    (tmp_path / "a.trans.txt").write_bytes(content)
    with pytest.raises(DataError) as error:
        load([str(tmp_path)])
    assert str(error.value).startswith(f"{tmp_path / 'a.trans.txt'}{message}")


def test_loops_of_links_in_a_librispeech_folder(tmp_path):
    (tmp_path / "dev-clean").mkdir()
    (tmp_path / "dev-clean" / "loop").symlink_to(tmp_path)
    (tmp_path / "dev-clean" / "a.trans.txt").write_text("1-2-3 HELLO\n")
    [one] = load([str(tmp_path)])
    assert (one.id, one.text, one.split, one.speaker) == ("1-2-3", "HELLO", "dev", "1")
    (tmp_path / "self.trans.txt").symlink_to(tmp_path / "self.trans.txt")
    with pytest.raises(DataError, match=r"self\.trans\.txt cannot be read as text: Too many levels of symbolic links"):
        load([str(tmp_path)])


def test_a_librispeech_folder_with_a_part_that_may_not_be_read(tmp_path):
    """Speech that is missing without a word would change every result."""
    (tmp_path / "a.trans.txt").write_text("1-2-3 HELLO\n")
    (tmp_path / "shut").mkdir(mode=0)
    with as_nobody(), pytest.raises(DataError, match="cannot be opened: Permission denied"):
        load([str(tmp_path)])
