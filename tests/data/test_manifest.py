import json
from pathlib import Path

import pytest

from stablequant.data import load
from stablequant.errors import DataError, SettingsError

ASTERISK = Path(__file__).parents[2] / "examples" / "asterisk"


def write_jsonl(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_folder_with_a_manifest():
    utterances = load([str(ASTERISK)])
    rows = [json.loads(line) for line in (ASTERISK / "manifest.jsonl").read_text().splitlines()]
    assert [u.id for u in utterances] == [row["id"] for row in rows]
    assert [u.text for u in utterances] == [row["text"] for row in rows]
    assert {u.split for u in utterances} == {"calibration", "dev", "test"}
    assert all(u.audio.is_file() and u.duration and u.speaker for u in utterances)
    assert utterances[2].source == f"{ASTERISK / 'manifest.jsonl'}:3"


def test_a_librispeech_folder(tmp_path):
    for split, speaker in (("train-clean-100", "19"), ("dev-clean", "1272"), ("test-other", "61")):
        chapter = tmp_path / "LibriSpeech" / split / speaker / "128104"
        chapter.mkdir(parents=True)
        lines = f"{speaker}-128104-0000 MISTER QUILTER IS\n{speaker}-128104-0001 NOR IS HE\n"
        (chapter / f"{speaker}-128104.trans.txt").write_text(lines)
    found = {u.id: u for u in load([str(tmp_path / "LibriSpeech")])}
    assert len(found) == 6
    one = found["1272-128104-0001"]
    assert (one.text, one.speaker, one.split) == ("NOR IS HE", "1272", "dev")
    assert one.audio == tmp_path / "LibriSpeech/dev-clean/1272/128104/1272-128104-0001.flac"
    assert found["61-128104-0000"].split == "test"
    assert found["19-128104-0000"].split == "calibration"
    assert {u.split for u in load([str(tmp_path / "LibriSpeech" / "dev-clean")])} == {"dev"}
    assert {u.split for u in load([str(tmp_path / "LibriSpeech" / "dev-clean" / "1272")])} == {None}


def test_jsonl_in_the_forms_in_use(tmp_path):
    elsewhere = tmp_path / "elsewhere" / "c.wav"
    path = write_jsonl(
        tmp_path / "mine.jsonl",
        {"audio": "sub/a.wav", "text": "Grüße\u2028du", "id": 7, "speaker": 3, "split": "validation"},
        {"audio_filepath": "b.wav", "text": "nemo", "duration": "1.5", "split": "extra", "offset": 0.0},
        {"audio": str(elsewhere), "text": "", "split": "TEST", "duration": None},
    )
    a, b, c = load([path])
    assert (a.id, a.text, a.speaker, a.split) == ("7", "Grüße\u2028du", "3", "dev")
    assert (a.audio, a.duration) == (tmp_path / "sub/a.wav", None)
    assert (b.id, b.duration, b.split, b.speaker) == ("b", 1.5, "calibration", None)
    assert (c.id, c.audio, c.text, c.split) == ("elsewhere/c", elsewhere, "", "test")


def test_a_line_without_text_has_none_and_an_empty_text_is_another_thing(tmp_path):
    path = write_jsonl(
        tmp_path / "m.jsonl", {"audio": "a.wav"}, {"audio": "b.wav", "text": None}, {"audio": "c.wav", "sentence": ""}
    )
    assert [u.text for u in load([path])] == [None, None, ""]
    path = tmp_path / "m.tsv"
    path.write_text("path\tlocale\nx.mp3\ten\n")
    assert [(u.id, u.text) for u in load([str(path)])] == [("x", None)]
    path.write_text("path\tsentence\nx.mp3\t\n")
    assert [u.text for u in load([str(path)])] == [""]


def test_a_folder_of_recordings_is_speech_without_text(tmp_path):
    folder = tmp_path / "calls"
    for name in ("a.wav", "a.flac", "dev/b.MP3", "notes.txt", ".hidden/c.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    found = load([str(folder)])
    assert [u.id for u in found] == ["a.flac", "a.wav", "dev/b.MP3"]
    assert {(u.text, u.split, u.speaker) for u in found} == {(None, None, None)}
    assert [u.audio for u in found] == [folder / u.id for u in found]
    # With a transcript file it is LibriSpeech, with a manifest what that lists.
    (folder / "1-2.trans.txt").write_text("1-2-0 HELLO\n")
    assert [(u.id, u.text) for u in load([str(folder)])] == [("1-2-0", "HELLO")]
    write_jsonl(folder / "manifest.jsonl", {"audio": "a.wav", "text": "x"})
    assert [(u.id, u.text) for u in load([str(folder)])] == [("a", "x")]


def test_a_common_voice_tsv(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "cv_1.mp3").touch()
    path = tmp_path / "dev.tsv"
    path.write_text(
        "client_id\tpath\tsentence\tlocale\r\n"
        'ab12\tcv_1.mp3\tShe said "no\ten\r\n'
        "\r\n"
        "cd34\tcv_2.mp3\tAnd left.\ten\r\n",
        encoding="utf-8-sig",
    )
    one, two = load([str(path)])
    assert (one.id, one.text, one.speaker, one.split) == ("cv_1", 'She said "no', "ab12", "dev")
    assert one.audio == tmp_path / "clips" / "cv_1.mp3"
    assert (two.audio, two.source) == (tmp_path / "cv_2.mp3", f"{path}:4")


def test_a_common_voice_folder_has_its_text_and_its_splits(tmp_path):
    folder = tmp_path / "cv-corpus" / "tr"
    lists = {"train": "abc", "dev": "d", "test": "ef", "validated": "abcdefg", "invalidated": "h", "other": "i"}
    (folder / "clips").mkdir(parents=True)
    for name, clips in lists.items():
        (folder / f"{name}.tsv").write_text("path\tsentence\n" + "".join(f"{c}.mp3\tSays {c}.\n" for c in clips))
        for clip in clips:
            (folder / "clips" / f"{clip}.mp3").touch()
    found = load([str(folder)])
    assert [(u.id, u.split) for u in found] == [
        *((clip, "calibration") for clip in "abc"),
        ("d", "dev"),
        *((clip, "test") for clip in "ef"),
    ]
    assert all(u.text == f"Says {u.id}." and u.audio == folder / "clips" / f"{u.id}.mp3" for u in found)
    with pytest.raises(DataError, match=rf"further below. Expected the folder of one language. Fix: give {folder}\."):
        load([str(tmp_path)])
    for name in ("train", "dev", "test"):
        (folder / f"{name}.tsv").unlink()
    # All that the splits are taken from, to be split here; what no one validated has no text to rely on.
    assert {(u.id, u.split) for u in load([str(folder)])} == {(clip, None) for clip in "abcdefg"}
    (folder / "validated.tsv").unlink()
    told = rf"only invalidated.tsv, other.tsv. Expected train.tsv or .*Fix: give the list itself, as in {folder}/invalidated.tsv"
    with pytest.raises(DataError, match=told):
        load([str(folder)])
    assert [u.text for u in load([str(folder / "other.tsv")])] == ["Says i."]
    # As where clips lie on another disk.
    (folder / "clips").rename(tmp_path / "elsewhere")
    (folder / "clips").symlink_to(tmp_path / "elsewhere")
    (folder / "other.tsv").rename(folder / "test.tsv")
    assert [(u.text, u.audio.is_file()) for u in load([str(folder)])] == [("Says i.", True)]


def test_colliding_ids_are_told_apart_whatever_the_order_of_the_sources(tmp_path):
    one = write_jsonl(tmp_path / "one.jsonl", {"audio": "a.wav", "text": "x"}, {"audio": "b.wav", "text": "y"})
    two = write_jsonl(tmp_path / "two" / "manifest.jsonl", {"audio": "a.wav", "text": "z"})
    same = write_jsonl(tmp_path / "far" / "two" / "manifest.jsonl", {"audio": "a.wav", "text": "z"})
    assert [u.id for u in load([one, two])] == ["one/a", "b", "two/a"]
    assert {u.id for u in load([two, one])} == {"one/a", "b", "two/a"}
    assert [u.id for u in load([two, same])] == ["two#1/a", "two#2/a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{broken", r"bad\.jsonl:1 is not JSON"),
        ("[1]", r"bad\.jsonl:1 is a JSON list"),
        ('{"text": "x"}', r"bad\.jsonl:1 has no audio.*audio_filepath"),
        ('\n{"audio": "a.wav", "text": 3}', r"bad\.jsonl:2 has the text 3\. Expected a string"),
        ('{"audio": "a.wav", "text": "x", "split": "trial"}', "the split 'trial'.*calibration, dev, test"),
        ('{"audio": "a.wav", "text": "x", "duration": "long"}', "the duration 'long'.*seconds"),
        ('{"audio": "a.wav", "text": "x", "duration": -1}', "the duration -1"),
        ('{"audio": "a.wav", "text": "x", "offset": 2.5}', "an offset into a longer recording"),
        ('{"audio": "a.wav", "text": "x"}\n{"audio": "a.flac", "text": "y"}', "1 ids more than once.*'a'"),
        ("\n", "holds no utterance"),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, message):
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        load([str(path)])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"path\tsentence\nx.mp3\n", r"a\.tsv:2 has 1 columns where the header has 2"),
        ("a.tsv", b"path\tsentence\n", "holds no utterance"),
        ("a.tsv", b"path\tsentence\nx.mp3\t\xff\xfe\n", "cannot be read as text"),
        ("a.xlsx", b"", "in no known form.*LibriSpeech"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load([str(path)])


def test_a_missing_or_empty_source_says_what_would_do(tmp_path):
    with pytest.raises(DataError, match=r"There is no .*nowhere.*--data"):
        load([str(tmp_path / "nowhere")])
    with pytest.raises(DataError, match=r"neither manifest\.jsonl nor any \*\.trans\.txt, nor a recording"):
        load([str(tmp_path)])
    with pytest.raises(SettingsError, match="No data source"):
        load([])
    with pytest.raises(SettingsError, match="given twice"):
        load([str(ASTERISK), str(ASTERISK)])
