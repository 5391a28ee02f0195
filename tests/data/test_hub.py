import io
import sys

import datasets
import numpy as np
import pytest
import soundfile

from stablequant.data import load, read
from stablequant.errors import DataError


def test_a_spec_that_names_no_split_says_the_form():
    with pytest.raises(DataError, match="hf:name:config:split"):
        load(["hf:librispeech"])


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)  # the import system's own way to say: not installed
    with pytest.raises(DataError, match="pip install datasets"):
        load(["hf:org/name:test"])


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A dataset as the hub stores most: parquet files whose audio column holds encoded bytes."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = {"audio": [], "sentence": [], "speaker_id": []}
    for number in range(3):
        file = io.BytesIO()
        soundfile.write(file, np.full(1600 * (number + 1), 0.25), 16000, format="FLAC")
        rows["audio"].append({"bytes": file.getvalue(), "path": f"{number}.flac"})
        rows["sentence"].append(f"line {number}")
        rows["speaker_id"].append(number)
    table = datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio())
    table.to_parquet(tmp_path / "corpus" / "validation.parquet")
    return tmp_path / "corpus"


def test_a_dataset_keeps_its_audio_encoded(corpus):
    utterances = load([f"hf:{corpus}:validation"])
    assert [u.text for u in utterances] == ["line 0", "line 1", "line 2"]
    assert [u.speaker for u in utterances] == ["0", "1", "2"]
    assert [u.id for u in utterances] == [f"validation-{n:06d}" for n in range(3)]
    assert {u.split for u in utterances} == {"dev"}
    assert [len(read(u, 8000)) for u in utterances] == [800, 1600, 2400]
    assert len(load([f"hf:{corpus}:validation[:2]"])) == 2


def test_a_dataset_without_text_is_speech_without_text(corpus):
    table = datasets.Dataset.from_parquet(str(corpus / "validation.parquet"))
    assert isinstance(table, datasets.Dataset)
    partly = table.map(lambda row, n: {"sentence": None if n == 1 else row["sentence"]}, with_indices=True)
    table.remove_columns("sentence").to_parquet(corpus.parent / "bare" / "train.parquet")
    partly.to_parquet(corpus.parent / "partly" / "test.parquet")
    assert [u.text for u in load([f"hf:{corpus.parent / 'bare'}:train"])] == [None] * 3
    assert [u.text for u in load([f"hf:{corpus.parent / 'partly'}:test"])] == ["line 0", None, "line 2"]


def test_a_dataset_that_cannot_be_loaded(corpus):
    with pytest.raises(DataError, match="cannot be loaded"):
        load([f"hf:{corpus}:nosuchsplit"])
