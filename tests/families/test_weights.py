"""Every tensor of a checkpoint is used once or named, and what is read is what transformers reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
import torch
import transformers
from altered import copy, edit, refusal, reweigh
from safetensors.torch import load_file, save_file
from support import MOONSHINE
from test_moonshine import OTHER
from test_wav2vec2 import FORMS, TINY
from torch import Tensor

from stablequant.families.checkpoint import fingerprint, load
from stablequant.families.config_file import checked
from stablequant.families.model import SpeechModel
from stablequant.families.weight_files import weight_files
from stablequant.families.weight_shapes import moonshine_shapes, wav2vec2_shapes
from stablequant.network.execute import Executor, TorchBackend

DENSE = "wavlm.encoder.layers.3.feed_forward.output_dense.weight"


def transformers_shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in model.state_dict().items() if "masked_spec_embed" not in name}


def as_written(config: Any) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return written


@pytest.mark.parametrize("form", FORMS)
def test_the_parameters_called_for_are_those_of_transformers_module(form: str) -> None:
    family, settings = FORMS[form]
    config = getattr(transformers, f"{family}Config")(**TINY, **settings)
    with torch.device("meta"):
        model = getattr(transformers, f"{family}ForCTC")(config)
    assert wav2vec2_shapes(checked(as_written(config), Path("config.json"))) == transformers_shapes(model)


@pytest.mark.parametrize("settings", [{}, OTHER, OTHER | {"head_dim": 16, "encoder_num_attention_heads": 3}])
def test_the_parameters_of_moonshine_are_those_of_transformers_module(settings: dict[str, Any]) -> None:
    config = transformers.MoonshineConfig(**settings)
    with torch.device("meta"):
        model = transformers.MoonshineForConditionalGeneration(config)
    assert moonshine_shapes(checked(as_written(config), Path("config.json"))) == transformers_shapes(model)


def same(a: SpeechModel, b: SpeechModel) -> bool:
    pairs = [(g.weights, h.weights) for g, h in zip(a.graphs, b.graphs, strict=True)]
    return all(x.keys() == y.keys() and all(torch.equal(x[key], y[key]) for key in x) for x, y in pairs)


def shard(folder: Path, *parts: dict[str, Tensor]) -> None:
    """Write weights as shards with their index, in place of the one file."""
    (folder / "model.safetensors").unlink()
    names = [f"model-{i + 1:05}-of-{len(parts):05}.safetensors" for i in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        save_file(part, folder / name, {"format": "pt"})
    places = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def halves(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    weights = {key: weight.clone() for key, weight in load_file(folder / "model.safetensors").items()}
    first = sorted(weights)[: len(weights) // 2]
    return {key: weights[key] for key in first}, {key: weights[key] for key in weights if key not in first}


# -- files -----------------------------------------------------------------------------------------------------------


def test_shards_are_read_as_one(tmp_path: Path) -> None:
    folder = copy(tmp_path / "model")
    shard(folder, *halves(folder))
    assert same(load(folder), support.graft())


@pytest.mark.parametrize("sharded", [False, True])
def test_files_of_another_save_are_left_out_and_named(tmp_path: Path, sharded: bool) -> None:
    folder = copy(tmp_path / "model")
    stale = {DENSE: torch.zeros(288, 1152), "wavlm.encoder.layers.6.layer_norm.weight": torch.zeros(288)}
    if sharded:
        shard(folder, *halves(folder))
    before = fingerprint(folder)
    save_file(stale, folder / "model-00009-of-00009.safetensors", {"format": "pt"})
    theirs = transformers.WavLMForCTC.from_pretrained(folder, dtype=torch.float32)
    ours = load(folder)
    assert torch.equal(ours.graphs[0].weights[DENSE], theirs.state_dict()[DENSE])
    assert same(ours, support.graft())
    assert fingerprint(folder) == before == ours.fingerprint
    assert len(ours.notes) == 1
    assert "model-00009-of-00009.safetensors (read: model" in ours.notes[0]
    assert support.graft().notes == ()


def test_one_file_goes_before_an_index(tmp_path: Path) -> None:
    folder = copy(tmp_path / "model")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "gone.safetensors"}}')
    assert weight_files(folder) == [folder / "model.safetensors"]
    assert same(load(folder), support.graft())


def test_shards_that_are_not_there_are_named(tmp_path: Path) -> None:
    folder = copy(tmp_path / "model")
    shard(folder, *halves(folder))
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "names files that are not there: model-00002-of-00002.safetensors" in refusal(folder)


def test_an_index_of_another_save_is_told(tmp_path: Path) -> None:
    folder = copy(tmp_path / "model")
    first, second = halves(folder)
    shard(folder, first, second)
    moved = next(iter(first))
    save_file({k: v for k, v in first.items() if k != moved}, folder / "model-00001-of-00002.safetensors")
    assert f"places tensors in files that do not hold them: {moved}" in refusal(folder)


def test_a_tensor_in_two_shards_is_named(tmp_path: Path) -> None:
    folder = copy(tmp_path / "model")
    first, second = halves(folder)
    twice = next(iter(first))
    shard(folder, first, second | {twice: first[twice] + 1})
    assert f"model-00001-of-00002.safetensors holds too: {twice}" in refusal(folder)


@pytest.mark.parametrize(
    "index", ['{"weight_map": 5}', "{}", '{"weight_map": {"a": "../x.safetensors"}}', "[", '{"weight_map": {"a": 5}}']
)
def test_a_damaged_index_is_named(tmp_path: Path, index: str) -> None:
    folder = copy(tmp_path / "model", without=("model.safetensors",))
    (folder / "model.safetensors.index.json").write_text(index)
    assert str(folder / "model.safetensors.index.json") in refusal(folder)


def test_a_file_of_another_name_is_not_taken_for_the_model(tmp_path: Path) -> None:
    folder = copy(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "model.fp16.safetensors")
    assert "has neither model.safetensors nor model.safetensors.index.json, only model.fp16.safetensors" in refusal(
        folder
    )


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 8, b"\xff" * 100, (2**40).to_bytes(8, "little") + b"{}", b"\x08" + b"\0" * 7 + b'{"a":5}}']
)
def test_a_file_that_is_no_safetensors_is_named(tmp_path: Path, content: bytes) -> None:
    folder = copy(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(content)
    assert str(folder / "model.safetensors") in refusal(folder)


# -- adapters and quantised weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_beside_the_weights_is_to_be_merged_first(tmp_path: Path, name: str) -> None:
    folder = copy(tmp_path / "model")
    (folder / name).write_text("{}")
    assert "merge it first with peft" in refusal(folder)


def test_an_adapter_alone_is_told_before_the_missing_configuration(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "is an adapter (LoRA)" in refusal(tmp_path)


def test_an_adapter_among_the_weights_is_to_be_merged_first(tmp_path: Path) -> None:
    def add(weights: dict[str, Tensor]) -> None:
        weights["wavlm.encoder.layers.0.attention.q_proj.lora_A.default.weight"] = torch.zeros(8, 288)

    assert "merge it first with peft" in refusal(reweigh(copy(tmp_path / "model"), add))


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.float8_e4m3fn])
def test_weights_of_a_quantised_type_are_refused(tmp_path: Path, kind: torch.dtype) -> None:
    def narrow(weights: dict[str, Tensor]) -> None:
        weights[DENSE] = weights[DENSE].to(kind)

    message = refusal(reweigh(copy(tmp_path / "model"), narrow))
    assert f"{DENSE} as {str(kind).removeprefix('torch.')}: these weights are quantised already" in message


def test_what_a_quantised_format_keeps_beside_a_weight_is_told(tmp_path: Path) -> None:
    def add(weights: dict[str, Tensor]) -> None:
        weights[DENSE.replace("weight", "qweight")] = weights.pop(DENSE).to(torch.int32)

    assert "quantised already" in refusal(reweigh(copy(tmp_path / "model"), add))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(tmp_path: Path, kind: torch.dtype) -> None:
    def narrow(weights: dict[str, Tensor]) -> None:
        weights.update({key: weight.to(kind) for key, weight in weights.items()})

    weights = load(reweigh(copy(tmp_path / "model"), narrow)).graphs[0].weights
    assert weights[DENSE].dtype == torch.float32
    assert torch.equal(weights[DENSE], support.graft().graphs[0].weights[DENSE].to(kind).float())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    def spoil(weights: dict[str, Tensor]) -> None:
        weights[DENSE][-1, -1] = value

    assert f"NaN or infinite values in {DENSE}" in refusal(reweigh(copy(tmp_path / "model"), spoil))


def test_large_values_are_no_infinite_ones(tmp_path: Path) -> None:
    def enlarge(weights: dict[str, Tensor]) -> None:
        weights[DENSE] = torch.full_like(weights[DENSE].float(), 3e38)  # their sum overflows

    load(reweigh(copy(tmp_path / "model"), enlarge))


# -- names and shapes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "wavlm.encoder.layers.6.layer_norm.weight",
        "classifier.weight",
        "wavlm.adapter.layers.0.conv.weight",
        "lm_head.extra",
    ],
)
def test_a_tensor_without_a_place_is_named(tmp_path: Path, name: str) -> None:
    folder = reweigh(copy(tmp_path / "model"), lambda weights: weights.update({name: torch.zeros(3)}))
    assert f"holds 1 tensors that its config.json has no place for: {name}" in refusal(folder)


def test_what_training_leaves_behind_is_no_matter(tmp_path: Path) -> None:
    left = ("wavlm.masked_spec_embed", "quantizer.codevectors", "project_q.weight", "project_hid.bias")
    folder = reweigh(copy(tmp_path / "model"), lambda weights: weights.update({n: torch.zeros(3) for n in left}))
    assert same(load(folder), support.graft())


def test_a_layer_more_and_a_layer_less_are_told(tmp_path: Path) -> None:
    folder = copy(tmp_path / "model")
    edit(folder / "config.json", num_hidden_layers=5)
    assert "no place for: wavlm.encoder.layers.5." in refusal(folder)
    edit(folder / "config.json", num_hidden_layers=7)
    assert "the checkpoint lacks " in refusal(folder)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("vocab_size", 31, "lm_head.weight [32, 288] instead of [31, 288]"),
        ("hidden_size", 144, "instead of"),
        ("intermediate_size", 1151, "instead of [1151, 288]"),
        ("num_buckets", 160, "rel_attn_embed.weight [320, 8] instead of [160, 8]"),
        ("conv_kernel", [127, 7, 4], "conv_layers.2.conv.weight [320, 608, 3] instead of [320, 608, 4]"),
        ("num_conv_pos_embeddings", 31, "original0 [1, 1, 32] instead of [1, 1, 31]"),
    ],
)
def test_shapes_that_contradict_the_configuration_are_told(tmp_path: Path, key: str, value: Any, named: str) -> None:
    folder = copy(tmp_path / "model")
    edit(folder / "config.json", **{key: value})
    assert named in refusal(folder)


def renamed(old: str, new: str) -> Callable[[dict[str, Tensor]], None]:
    def rename(weights: dict[str, Tensor]) -> None:
        for key in list(weights):
            if old in key:
                weights[key.replace(old, new, 1)] = weights.pop(key)

    return rename


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("wavlm.", ""),
        ("lm_head.", "wavlm.lm_head."),
        (".parametrizations.weight.original", ".weight_"),
    ],
)
def test_names_that_transformers_accepts_are_accepted(tmp_path: Path, old: str, new: str) -> None:
    def rename(weights: dict[str, Tensor]) -> None:
        renamed(old, new)(weights)
        renamed(".weight_0", ".weight_g")(weights)
        renamed(".weight_1", ".weight_v")(weights)

    folder = reweigh(copy(tmp_path / "model"), rename)
    theirs, info = transformers.WavLMForCTC.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"]
    assert torch.equal(theirs.lm_head.weight, support.graft().graphs[0].weights["lm_head.weight"])
    assert same(load(folder), support.graft())


def test_a_parameter_under_two_names_is_told(tmp_path: Path) -> None:
    def twice(weights: dict[str, Tensor]) -> None:
        weights[DENSE.removeprefix("wavlm.")] = weights[DENSE] + 1

    assert f"holds {DENSE} twice" in refusal(reweigh(copy(tmp_path / "model"), twice))


def test_a_folded_weight_norm_is_refused_as_transformers_would_not_read_it(tmp_path: Path) -> None:
    folder = reweigh(copy(tmp_path / "model"), renamed(".parametrizations.weight.original1", ".weight"))
    assert "pos_conv_embed.conv.weight" in refusal(folder)


# -- tied weights ----------------------------------------------------------------------------------------------------

EMBEDDING = "model.decoder.embed_tokens.weight"


def own_head(weights: dict[str, Tensor]) -> None:
    weights["proj_out.weight"] = weights[EMBEDDING].roll(1, 0)


def other_name(weights: dict[str, Tensor]) -> None:
    weights["proj_out.weight"] = weights.pop(EMBEDDING)


def both_names(weights: dict[str, Tensor]) -> None:
    weights["proj_out.weight"] = weights[EMBEDDING].clone()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("change", [own_head, other_name, both_names, lambda weights: None])
def test_a_head_is_tied_where_transformers_ties_it(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], None], tied: bool
) -> None:
    folder = reweigh(copy(tmp_path / "model", MOONSHINE), change)
    edit(folder / "config.json", tie_word_embeddings=tied)
    if not tied and change not in (own_head, both_names):  # transformers makes the missing one up
        assert "the checkpoint lacks 1 of the weights" in refusal(folder)
        return
    theirs = transformers.MoonshineForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    model = load(folder)
    decoder = model.graph("decoder")
    nodes = {node.name: decoder.weights[node.weights["weight"]] for node in decoder.nodes if "weight" in node.weights}
    assert torch.equal(nodes["proj_out"], theirs.proj_out.weight)
    assert torch.equal(nodes["model.decoder.embed_tokens"], theirs.model.decoder.embed_tokens.weight)
    if change is own_head:
        sound = support.waveform("vm-nomore")
        backend = TorchBackend({g.name: Executor(g) for g in model.graphs})
        with torch.inference_mode():
            ids = theirs.generate(torch.from_numpy(sound)[None], max_new_tokens=12, do_sample=False)[0].tolist()
        tokens = [1, *model.frontend.recognize(backend, [sound])[0].tokens]
        assert len(ids) > 5
        assert tokens[: len(ids)] == [i for i in ids if i != 2]
