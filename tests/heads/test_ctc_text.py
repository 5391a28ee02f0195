"""A CTC transcript is what transformers writes, whatever the tokens: letters, or phonemes of several characters."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import support
import torch
import transformers
from numpy.typing import NDArray

from stablequant.heads.ctc import CtcHead
from stablequant.quantize.simulate import Simulator

PHONEMES = "tʰ aɪ kʰ eɪ oʊ dʒ tʃ æ ɪ ɛ ə n s l m ɹ d b f v z w h ŋ ʃ j ɡ".split()
CHARACTERS, PHONES = "Wav2Vec2CTCTokenizer", "Wav2Vec2PhonemeCTCTokenizer"


@cache
def outputs() -> tuple[Any, dict[str, Any]]:
    """A backend, and what the real CTC model says to a few recordings."""
    backend = Simulator(support.graft()).backend({})
    with torch.no_grad():
        return backend, backend.run("model", support.feeds(support.graft(), support.waveforms()))


def tokenizer(folder: Path, name: str, tokens: Sequence[str]) -> Any:
    """The model's own tokenizer, of another class or with other tokens."""
    for file in ("tokenizer_config.json", "vocab.json"):
        shutil.copy(support.GRAFT / file, folder / file)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": name}))
    if tokens:
        words = ["<pad>", "<s>", "</s>", "<unk>", "|", *tokens]
        (folder / "vocab.json").write_text(json.dumps({token: n for n, token in enumerate(words)}))
    return getattr(transformers, name).from_pretrained(folder)


@pytest.mark.parametrize("name", [CHARACTERS, PHONES])
@pytest.mark.parametrize("tokens", [(), PHONEMES], ids=["letters", "phonemes"])
def test_transcripts_are_those_of_transformers(name: str, tokens: Sequence[str], tmp_path: Path) -> None:
    known = tokenizer(tmp_path, name, tokens)
    backend, made = outputs()
    logits: NDArray[Any] = backend.get(made["logits"])
    frames = backend.get(made["frames"])
    answers = CtcHead(known, known.pad_token_id).read(backend, made, np.ones(len(frames), np.int64))
    expected = [known.decode(row[:count].argmax(-1)) for row, count in zip(logits, frames, strict=True)]
    assert [answer.text for answer in answers] == expected
    assert all(expected)
    if name == PHONES:  # Phonemes stand apart, as in the transcripts such a model learned from.
        assert all(part in known.get_vocab() for text in expected for part in text.split())
