"""Any bytes and any JSON are utterances, or a DataError: nothing else comes out."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from stablequant.data import Utterance, fingerprint, load, make_splits, read_many
from stablequant.errors import AudioError, DataError

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # with NUL and lone surrogates
NAMES = st.sampled_from([".", "/", "..", "~", "~/x", "a.wav", "\0", "\ud800", "x" * 300, "x" * 5000, "/dev/zero"])
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 1e308])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | ANY_TEXT | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=5,
)
KEYS = [
    "audio",
    "audio_filepath",
    "path",
    "text",
    "sentence",
    "id",
    "speaker",
    "client_id",
    "duration",
    "split",
    "offset",
]
ROWS = st.dictionaries(st.sampled_from(KEYS) | ANY_TEXT, VALUES)
USABLE = st.fixed_dictionaries({"audio": ANY_TEXT | NAMES, "text": ANY_TEXT}, optional={k: VALUES for k in KEYS[5:]})
FUZZ = settings(max_examples=250, derandomize=True, deadline=None, database=None)


def survives(name: str, content: bytes) -> None:
    """Load, divide, hash and read ``content`` as a manifest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            found = load([str(path)])
        except DataError as error:
            assert len(str(error)) < 1000
            str(error).encode()
            assert str(path) in str(error)
            return
        assert found
        for utterance in found:
            assert isinstance(utterance, Utterance)
            json.dumps(utterance.text, ensure_ascii=False).encode()
            f"{utterance.id} {utterance.speaker} {utterance.source} {utterance.name}".encode()
        assert len(fingerprint(found)) == 64
        try:
            make_splits(found)
        except DataError as error:
            str(error).encode()
        try:
            read_many(found, 16000, 1.0)
        except AudioError as error:
            assert "recordings cannot be used" in str(error)
            str(error).encode()


@FUZZ
@given(st.sampled_from(["m.jsonl", "m.tsv", "a.trans.txt"]), st.binary(max_size=200))
def test_any_bytes(name, content):
    survives(name, content)


@FUZZ
@given(st.lists(ROWS | USABLE | VALUES, max_size=4))
def test_any_json_lines(rows):
    survives("m.jsonl", "\n".join(map(json.dumps, rows)).encode())


@FUZZ
@given(st.lists(USABLE, min_size=1, max_size=4))
def test_rows_that_have_audio_and_text(rows):
    survives("dev.jsonl", "\n".join(map(json.dumps, rows)).encode())


@FUZZ
@given(
    st.lists(st.lists(st.text(max_size=5), min_size=2, max_size=4), max_size=4), st.sampled_from(["\n", "\r\n", "\r"])
)
def test_any_table(rows, end):
    content = end.join(["path\tsentence", *("\t".join(row) for row in rows)])
    survives("m.tsv", content.encode())
