"""Feature extractor and tokenizer: what can be read is read as transformers reads it, what cannot is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
import transformers
from altered import copy, edit, refusal
from support import GRAFT, MOONSHINE
from test_wav2vec2 import checkpoint

from stablequant.errors import ModelError
from stablequant.families.checkpoint import load_frontend
from stablequant.families.json_file import read_object
from stablequant.families.processor_files import load_processor
from stablequant.families.special_ids import SpecialIds, ctc_ids, decoder_ids

IDS = [11, 7, 0, 19, 4, 0, 4, 25, 25, 3]


@pytest.fixture
def graft(tmp_path: Path) -> Path:
    return copy(tmp_path / "model", without=("model.safetensors",))


@pytest.fixture
def moonshine(tmp_path: Path) -> Path:
    return copy(tmp_path / "model", MOONSHINE, without=("model.safetensors",))


def written(folder: Path) -> str:
    return str(load_processor(folder).tokenizer.decode(IDS, group_tokens=False))


def said(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_frontend(folder)
    return str(caught.value)


@pytest.mark.parametrize("model", [GRAFT, MOONSHINE])
def test_both_parts_are_those_of_transformers_processor(model: Path) -> None:
    ours, theirs = load_processor(model), transformers.AutoProcessor.from_pretrained(model)
    assert ours.feature_extractor.to_dict() == theirs.feature_extractor.to_dict()
    assert type(ours.tokenizer) is type(theirs.tokenizer)
    assert ours.tokenizer.get_vocab() == theirs.tokenizer.get_vocab()
    assert ours.tokenizer.decode(IDS) == theirs.tokenizer.decode(IDS)


def test_a_processor_with_a_language_model_is_read_without_it(graft: Path) -> None:
    expected = written(graft)
    (graft / "processor_config.json").unlink()
    for name in ("preprocessor_config.json", "tokenizer_config.json"):
        edit(graft / name, processor_class="Wav2Vec2ProcessorWithLM")
    (graft / "language_model").mkdir()
    (graft / "alphabet.json").write_text("{}")
    assert written(graft) == expected
    assert load_frontend(graft).sampling_rate == 16000


def test_a_phoneme_tokenizer_writes_without_phonemizer(graft: Path) -> None:
    edit(graft / "tokenizer_config.json", tokenizer_class="Wav2Vec2PhonemeCTCTokenizer", phonemizer_backend="espeak")
    assert type(load_processor(graft).tokenizer).__name__ == "Wav2Vec2PhonemeCTCTokenizer"
    theirs = transformers.Wav2Vec2PhonemeCTCTokenizer.from_pretrained(graft)
    assert written(graft) == theirs.decode(IDS, group_tokens=False) != ""


DAMAGES: dict[str, Callable[[str], str]] = {
    "cut": lambda text: text[: len(text) // 2],
    "list": lambda text: f"[{text}]",
    "nested": lambda text: "[" * 100_000,
    "long number": lambda text: text.replace("{", '{"x": ' + "9" * 5000 + ",", 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name", ["vocab.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json"]
)
def test_a_damaged_file_is_named(graft: Path, name: str, damage: str) -> None:
    path = graft / name
    if name == "preprocessor_config.json":  # else the nested one in processor_config.json is taken
        (graft / "processor_config.json").unlink()
    path.write_text(DAMAGES[damage](path.read_text()))
    assert str(path) in said(graft)


@pytest.mark.parametrize("damage", ["cut", "list", "nested"])
@pytest.mark.parametrize("name", ["tokenizer.json", "generation_config.json"])
def test_a_damaged_file_of_a_decoder_is_named(moonshine: Path, name: str, damage: str) -> None:
    path = moonshine / name
    path.write_text(DAMAGES[damage](path.read_text()))
    assert str(path) in said(moonshine)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"E": 6}, "the same id 6"),
        ({"E": "5"}, "gives 'E' the id 5. Expected whole numbers"),
        ({"E": -1}, "gives 'E' the id -1"),
        ({"E": 5.0}, "gives 'E' the id 5.0"),
        ({"E": True}, "gives 'E' the id True"),
        ({"E": {"a": 1}}, "gives 'E' the id"),
        ({"E": 32}, "none with the id 5"),
        ({"E": 10**9}, "none with the id 5"),
        ({"E": 10**40}, "none with the id 5"),
    ],
)
def test_ids_that_no_vocabulary_has_are_named(graft: Path, change: dict[str, Any], named: str) -> None:
    assert json.loads((graft / "vocab.json").read_text())["E"] == 5
    edit(graft / "vocab.json", **change)
    message = said(graft)
    assert str(graft / "vocab.json") in message
    assert named in message


def test_a_vocabulary_by_languages_is_read_in_its_own(graft: Path) -> None:
    expected = written(graft)
    vocabulary = json.loads((graft / "vocab.json").read_text())
    (graft / "vocab.json").write_text(json.dumps({"eng": vocabulary, "deu": {"<pad>": 0}}))
    edit(graft / "tokenizer_config.json", target_lang="eng")
    assert written(graft) == expected
    edit(graft / "tokenizer_config.json", target_lang="fra")
    assert str(graft / "vocab.json") in said(graft)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sampling_rate", 0),
        ("sampling_rate", -16000),
        ("sampling_rate", 10**9),
        ("sampling_rate", "16000"),
        ("sampling_rate", 16000.0),
        ("sampling_rate", None),
        ("feature_size", 80),
        ("feature_size", True),
        ("do_normalize", "false"),
    ],
)
@pytest.mark.parametrize("nested", [True, False])
def test_an_extractor_that_cannot_be_the_models_is_refused(graft: Path, key: str, value: Any, nested: bool) -> None:
    path = graft / "processor_config.json"
    if nested:
        edit(path, feature_extractor=json.loads(path.read_text())["feature_extractor"] | {key: value})
    else:
        path.unlink()
        path = graft / "preprocessor_config.json"
        edit(path, **{key: value})
    assert f"{path} has the {key} {value}" in said(graft)


@pytest.mark.parametrize("name", ["added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"])
@pytest.mark.parametrize("value", [5, [1], {"a": {}}, None])
def test_wrong_types_are_refused_or_harmless(graft: Path, name: str, value: Any) -> None:
    path = graft / name
    if not path.exists():
        path.write_text("{}")
    for key in ("pad_token", "replace_word_delimiter_char", "added_tokens_decoder", "extra_special_tokens", "<x>"):
        before = path.read_text()
        edit(path, **{key: value})
        try:
            load_frontend(graft)
        except ModelError:
            pass
        path.write_text(before)


# -- special ids -----------------------------------------------------------------------------------------------------


def test_a_blank_that_config_does_not_tell_is_the_tokenizers(graft: Path) -> None:
    edit(graft / "config.json", "pad_token_id")
    tokenizer = load_processor(graft).tokenizer
    assert ctc_ids(read_object(graft / "config.json"), tokenizer, graft) == SpecialIds(blank=0)
    assert load_frontend(graft).config["pad_token_id"] == 0


def test_a_blank_that_stands_elsewhere_is_found_and_a_contradiction_refused(graft: Path) -> None:
    vocabulary = json.loads((graft / "vocab.json").read_text())
    moved = {token: (index - 1) % len(vocabulary) for token, index in vocabulary.items()}
    (graft / "vocab.json").write_text(json.dumps(moved))
    config = json.loads((graft / "tokenizer_config.json").read_text())
    tokens = {str(moved[t["content"]]): t for t in config["added_tokens_decoder"].values()}
    edit(graft / "tokenizer_config.json", added_tokens_decoder=tokens)
    message = said(graft)
    assert "config.json has the pad_token_id 0, the tokenizer's pad token <pad> has the id 31" in message
    assert "set pad_token_id to 31" in message
    edit(graft / "config.json", "pad_token_id")
    assert load_frontend(graft).config["pad_token_id"] == 31


def test_a_tokenizer_without_a_blank_is_told(graft: Path) -> None:
    edit(graft / "tokenizer_config.json", pad_token="<blank>", added_tokens_decoder={})
    assert "pad token <blank> has the id 32" in said(graft)


def test_a_decoder_is_steered_by_the_generation_settings_first(moonshine: Path) -> None:
    tokenizer = load_processor(moonshine).tokenizer
    path = moonshine / "generation_config.json"

    def found(**config: Any) -> SpecialIds:
        return decoder_ids({"vocab_size": 32768, **config}, tokenizer, moonshine)

    config = {"decoder_start_token_id": 5, "eos_token_id": [6]}
    assert found(**config) == SpecialIds(start=1, end=2)
    path.write_text('{"eos_token_id": [9]}')
    assert found(**config) == SpecialIds(start=5, end=9)
    path.unlink()
    assert found(**config) == SpecialIds(start=5, end=6)
    assert found() == SpecialIds(start=tokenizer.bos_token_id, end=tokenizer.eos_token_id)
    assert found().into({"pad_token_id": 3}) == {"pad_token_id": 3, "decoder_start_token_id": 1, "eos_token_id": 2}


@pytest.mark.parametrize("value", [[2, 3], "2", -1, True, 2.0, {}, 32768])
def test_an_end_that_is_no_single_token_is_refused(moonshine: Path, value: Any) -> None:
    edit(moonshine / "generation_config.json", eos_token_id=value)
    assert str(value) in said(moonshine)


def test_ids_that_no_file_tells_are_missed(moonshine: Path) -> None:
    (moonshine / "generation_config.json").unlink()
    tokenizer = load_processor(moonshine).tokenizer
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="does not say which token the decoder ends with"):
        decoder_ids({"vocab_size": 32768}, tokenizer, moonshine)


def test_a_model_of_several_languages_is_still_named_by_its_adapters(tmp_path: Path) -> None:
    """MMS keeps one adapter a language; its vocabulary alone would load."""
    checkpoint(tmp_path, "Wav2Vec2", {"adapter_attn_dim": 16})
    for name in ("vocab.json", "tokenizer_config.json", "preprocessor_config.json"):
        shutil.copy(GRAFT / name, tmp_path)
    assert "adapter" in refusal(tmp_path)
    assert support.graft().notes == ()
