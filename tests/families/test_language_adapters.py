"""MMS: one set of adapters and one vocabulary a language, loaded as transformers does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from altered import refusal, reweigh
from safetensors.torch import load_file, save_file
from support import GRAFT
from test_wav2vec2 import STABLE, checkpoint, difference, run, utterances

from stablequant.errors import ModelError
from stablequant.families.checkpoint import load, load_frontend
from stablequant.families.language_adapters import PARTS

ENGLISH = {token: index for index, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefgh"])}
FRENCH = {token: index for index, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *"éèàâù"])}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with English adapters, and files of two languages."""
    folder = tmp_path_factory.mktemp("mms")
    model, _ = checkpoint(folder, "Wav2Vec2", STABLE | {"adapter_attn_dim": 6, "pad_token_id": 0})
    own = {name: weight for name, weight in model.state_dict().items() if PARTS.search(name)}
    save_file({name: weight.contiguous() for name, weight in own.items()}, folder / "adapter.eng.safetensors")
    generator = torch.Generator().manual_seed(7)
    head = {"lm_head.weight": (len(FRENCH), 32), "lm_head.bias": (len(FRENCH),)}
    shapes = {name: tuple(weight.shape) for name, weight in own.items()} | head
    drawn = {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}
    save_file(drawn, folder / "adapter.fra.safetensors")
    (folder / "vocab.json").write_text(json.dumps({"eng": ENGLISH, "fra": FRENCH}))
    shutil.copy(GRAFT / "preprocessor_config.json", folder)
    config = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "target_lang": "eng", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def test_a_language_has_its_own_adapters_head_and_vocabulary(whole: Path) -> None:
    ours = load(whole, "fra")
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(whole, target_lang="fra", ignore_mismatched_sizes=True).eval()
    for waveform in utterances():
        logits, _ = run(ours.graphs[0], waveform[None], torch.tensor([len(waveform)]))
        with torch.inference_mode():
            assert difference(logits, theirs(waveform[None]).logits) < 1e-4
    assert ours.language == "fra"
    assert ours.notes == ()
    assert ours.frontend.config["vocab_size"] == len(FRENCH)
    assert ours.frontend.processor.tokenizer.decode([5, 6], group_tokens=False) == "éè"
    assert load_frontend(whole, "fra").processor.tokenizer.decode([5, 6], group_tokens=False) == "éè"


def test_without_a_language_the_checkpoint_is_as_it_is(whole: Path) -> None:
    ours, english = load(whole), load(whole, "eng")
    assert ours.language is None
    assert ours.frontend.processor.tokenizer.decode([5, 6], group_tokens=False) == "ab"
    waveform = utterances()[0][None]
    alone = [run(model.graphs[0], waveform, torch.tensor([waveform.shape[1]]))[0] for model in (ours, english)]
    assert torch.equal(*alone)


def test_the_fingerprint_tells_languages_and_their_files_apart(folder: Path) -> None:
    own, english, french = (load(folder, language).fingerprint for language in (None, "eng", "fra"))
    assert len({own, english, french}) == 3
    shutil.copy(folder / "adapter.eng.safetensors", folder / "adapter.spa.safetensors")
    vocabularies = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(vocabularies | {"spa": ENGLISH}))
    assert load(folder, "spa").fingerprint != english
    weights = load_file(folder / "adapter.fra.safetensors")
    save_file({name: weight * 2 for name, weight in weights.items()}, folder / "adapter.fra.safetensors")
    assert load(folder, "fra").fingerprint != french
    assert load(folder, "eng").fingerprint == english


def test_a_language_that_is_not_there_is_told_with_those_that_are(folder: Path) -> None:
    with pytest.raises(ModelError, match="has no vocabulary of swe. Expected one of eng, fra"):
        load(folder, "swe")
    (folder / "adapter.fra.safetensors").unlink()
    with pytest.raises(ModelError, match="has no adapter.fra.safetensors. Expected one of eng"):
        load(folder, "fra")
    (folder / "vocab.json").write_text(json.dumps({"../x": ENGLISH}))
    with pytest.raises(ModelError, match="is no code of a language"):
        load(folder, "../x")


def test_a_file_that_lacks_a_layer_is_not_filled_up_from_another_language(folder: Path) -> None:
    path = folder / "adapter.fra.safetensors"
    weights = {name: weight for name, weight in load_file(path).items() if "layers.1" not in name}
    save_file(weights, path)
    with pytest.raises(ModelError, match=r"lacks 6 of the weights.*layers.1.adapter_layer.norm.weight"):
        load(folder, "fra")
    path.write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="adapter.fra.safetensors cannot be read"):
        load(folder, "fra")


def test_a_model_for_all_languages_does_not_look_for_adapters() -> None:
    assert load(GRAFT, "fra").fingerprint == load(GRAFT).fingerprint


def test_a_checkpoint_without_its_adapters_is_refused(folder: Path) -> None:
    def without(weights: dict[str, torch.Tensor]) -> None:
        for name in [n for n in weights if "adapter_layer" in n]:
            del weights[name]

    assert "adapter_layer" in refusal(reweigh(folder, without))
