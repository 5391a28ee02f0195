import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablequant.data import Splits, Utterance, fingerprint, load, make_splits
from stablequant.errors import DataError, OverlapError, SettingsError

ASTERISK = Path(__file__).parents[2] / "examples" / "asterisk"
NAMES = ("calibration", "dev", "test")


def corpus(count, speakers=0, split=None):
    return [
        Utterance(
            id=f"u{n:04d}",
            text=f"text {n}",
            audio=f"audio {n}".encode(),
            speaker=f"s{n % speakers}" if speakers else None,
            split=split,
        )
        for n in range(count)
    ]


def sets(splits, what=lambda u: u.id):
    return [{what(u) for u in getattr(splits, name)} for name in NAMES]


def test_the_manifests_own_splits_are_kept():
    utterances = load([str(ASTERISK)])
    splits = make_splits(utterances, seed=5)
    for name in NAMES:
        assert {u.id for u in getattr(splits, name)} == {u.id for u in utterances if u.split == name}


def test_missing_calibration_is_a_fifth_of_dev():
    utterances = [u for u in load([str(ASTERISK)]) if u.split != "calibration"]
    splits = make_splits(utterances)
    dev = {u.id for u in utterances if u.split == "dev"}
    assert {u.id for u in splits.test} == {u.id for u in utterances if u.split == "test"}
    assert {u.id for u in splits.calibration} | {u.id for u in splits.dev} == dev
    assert len(splits.calibration) == pytest.approx(0.2 * len(dev), abs=1)
    assert make_splits(utterances, seed=1).calibration != splits.calibration


def without_text(names, split=None, source=""):
    return [Utterance(name, None, f"audio {name}".encode(), split=split, source=source) for name in names]


def test_speech_without_text_beside_others_serves_calibration_alone():
    labelled, bare = corpus(20), without_text(["x", "y", "z"])
    for mixed in (labelled + bare, bare + labelled):
        splits = make_splits(mixed)
        assert {u.id for u in splits.calibration} == {"x", "y", "z"}
        assert {len(splits.dev), len(splits.test)} == {10}
    named = [replace(u, split=("dev", "test")[n % 2]) for n, u in enumerate(labelled)]
    splits = make_splits(named + bare)
    assert sets(splits) == [{"x", "y", "z"}, {u.id for u in named[::2]}, {u.id for u in named[1::2]}]
    # Calibration speech with text stays there; a missing test is taken from dev.
    named = [replace(u, split=("dev", "calibration")[n % 2]) for n, u in enumerate(labelled)]
    splits = make_splits(named + without_text("xyz", "calibration"))
    assert {u.id for u in splits.calibration} == {"x", "y", "z"} | {u.id for u in named[1::2]}
    assert {u.id for u in (*splits.dev, *splits.test)} == {u.id for u in named[::2]}


def test_speech_without_any_text_is_divided_as_all_other_is():
    labelled = corpus(30, speakers=5)
    assert sets(make_splits([replace(u, text=None) for u in labelled])) == sets(make_splits(labelled))


@pytest.mark.parametrize("split", ["dev", "test"])
def test_dev_and_test_speech_without_text_is_an_error_where_others_have_one(split):
    mixed = [*corpus(20, split="calibration"), *without_text("x", split, "m.jsonl:21")]
    told = f"m.jsonl:21 is of the split {split} and has no text, where others have one. Expected text in all"
    with pytest.raises(DataError, match=told):
        make_splits(mixed)


def test_a_fingerprint_tells_no_text_from_an_empty_one():
    one = corpus(3)
    assert fingerprint(one) == "2b99a181987c1f43a588b5a70265b6c32decb53b1268827ce9f603c0ee778521"
    texts = [fingerprint([replace(one[0], text=text), *one[1:]]) for text in (None, "", "text 0")]
    assert len(set(texts)) == 3


@pytest.mark.parametrize(("missing", "donor"), [("dev", "calibration"), ("test", "dev")])
def test_a_missing_split_is_taken_from_its_neighbour(missing, donor):
    (other,) = set(NAMES) - {missing, donor}
    given_splits = [replace(u, split=donor if n < 50 else other) for n, u in enumerate(corpus(80))]
    splits = make_splits(given_splits)
    assert {name: len(getattr(splits, name)) for name in NAMES} == {missing: 20, donor: 30, other: 30}
    assert {u.split for u in getattr(splits, missing)} == {donor}


@given(
    count=st.integers(3, 60),
    speakers=st.sampled_from([0, 1, 2, 3, 7]),
    seed=st.integers(0, 99),
    shuffle=st.randoms(use_true_random=False),
)
def test_a_seeded_division_is_disjoint_complete_and_blind_to_order(count, speakers, seed, shuffle):
    utterances = corpus(count, speakers)
    splits = make_splits(utterances, seed)
    parts = sets(splits)
    assert all(parts)
    assert sum(map(len, parts)) == count
    assert set.union(*parts) == {u.id for u in utterances}
    shuffle.shuffle(utterances)
    assert make_splits(utterances, seed) == splits
    if speakers >= 3:
        voices = sets(splits, lambda u: u.speaker)
        assert sum(map(len, voices)) == len(set.union(*voices))
    elif count >= 10:
        assert [len(part) / count for part in parts] == pytest.approx([0.2, 0.4, 0.4], abs=1 / count)


def test_one_named_split_alone_is_divided_like_an_unnamed_corpus():
    expected = sets(make_splits(corpus(30)))
    assert sets(make_splits(corpus(30, split="test"))) == expected


def test_an_unnamed_speaker_stands_alone():
    utterances = corpus(40, speakers=4) + [replace(u, id=f"x{u.id}", audio=u.audio * 2) for u in corpus(40)]
    parts = sets(make_splits(utterances))
    assert sum(map(len, parts)) == 80
    assert all(any(id_.startswith("x") for id_ in part) for part in parts)


def test_copies_of_a_recording_stay_together_in_a_seeded_division(tmp_path):
    utterances = []
    for n in range(20):
        for copy in "ab":
            path = tmp_path / f"{n}{copy}.wav"
            path.write_bytes(b"recording %04d" % n)
            utterances.append(Utterance(id=path.stem, text="x", audio=path))
    parts = sets(make_splits(utterances), lambda u: u.id[:-1])
    assert sum(map(len, parts)) == 20


def test_the_same_id_or_recording_in_two_splits_is_an_error(tmp_path):
    one, two, three = corpus(3)
    with pytest.raises(OverlapError, match="u0000 in test is the same utterance as u0000 in calibration"):
        Splits((one,), (two,), (replace(one, audio=b"other"),))
    with pytest.raises(OverlapError, match="u0002 in test is the same recording as u0001 in dev"):
        Splits((one,), (two,), (replace(three, audio=two.audio),))

    path, copy = tmp_path / "a.wav", tmp_path / "b.wav"
    path.write_bytes(b"a recording")
    copy.write_bytes(b"a recording")
    named = [replace(one, audio=path, split="dev"), replace(two, audio=copy, split="test")]
    with pytest.raises(OverlapError, match="the same recording"):
        make_splits([*named, replace(three, split="dev")])


def test_missing_and_empty_files_are_left_for_reading_to_tell(tmp_path):
    audio = [tmp_path / "gone1.wav", tmp_path / "gone2.wav", tmp_path / "empty1.wav", tmp_path / "empty2.wav"]
    audio[2].touch()
    audio[3].touch()
    splits = make_splits([Utterance(id=path.stem, text="x", audio=path) for path in audio])
    assert sum(map(len, sets(splits))) == 4
    assert len(fingerprint(splits.dev)) == 64


def test_what_cannot_be_divided():
    with pytest.raises(DataError, match=r"2 utterances cannot be divided into calibration, dev, test"):
        make_splits(corpus(2))
    with pytest.raises(DataError, match="0 utterances"):
        make_splits([])
    with pytest.raises(DataError, match="u0000 .* has no split and others have one"):
        make_splits([*corpus(3), replace(corpus(4)[3], split="test")])
    with pytest.raises(DataError, match="the split 'train'"):
        corpus(1, split="train")
    for fractions in ((0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (0.5, 0.5)):
        with pytest.raises(SettingsError, match="add up to 1"):
            make_splits(corpus(9), fractions=fractions)


def test_the_fingerprint_follows_ids_texts_and_bytes_and_nothing_else(tmp_path):
    utterances = corpus(6)
    expected = fingerprint(utterances)
    shuffled = random.Random(1).sample(utterances, 6)
    assert fingerprint(shuffled) == expected
    path = tmp_path / "moved.wav"
    path.write_bytes(utterances[0].audio)
    assert fingerprint([replace(utterances[0], audio=path, source="elsewhere"), *utterances[1:]]) == expected
    for change in ({"id": "new"}, {"text": "new"}, {"audio": b"audio X"}):
        assert fingerprint([replace(utterances[0], **change), *utterances[1:]]) != expected
