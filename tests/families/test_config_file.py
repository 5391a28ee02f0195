"""config.json is checked before anything is built from it; what the file leaves out is what transformers takes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import transformers
from altered import copy, edit, refusal
from support import GRAFT, MOONSHINE

from stablequant.errors import ModelError
from stablequant.families.checkpoint import load, load_frontend
from stablequant.families.config_fields import ENCODERS, FIELDS, ROPE_FIELDS
from stablequant.families.config_file import checked, read_config
from stablequant.families.field_kinds import REQUIRED

PATH = Path("config.json")


@pytest.mark.parametrize("kind", FIELDS)
def test_what_the_file_leaves_out_is_what_transformers_takes(kind: str) -> None:
    ours = checked({"model_type": kind, "vocab_size": 32}, PATH)
    theirs = transformers.CONFIG_MAPPING[kind](vocab_size=32)
    for key, field in FIELDS[kind].items():
        if field.default is not REQUIRED and ours[key] is not None:
            expected = getattr(theirs, key)
            assert ours[key] == (tuple(expected) if isinstance(expected, list | tuple) else expected), key
    if kind == "moonshine":
        assert ours["rope_parameters"] == theirs.rope_parameters


@pytest.mark.parametrize("kind", ENCODERS)
def test_what_an_encoder_of_its_own_leaves_out_is_what_transformers_takes(kind: str) -> None:
    ours = checked({"model_type": kind, "encoder_config": {"num_mel_bins": 64}}, PATH)
    theirs = transformers.CONFIG_MAPPING[kind](encoder_config={"num_mel_bins": 64}).encoder_config
    assert {key: ours[key] for key in ENCODERS[kind]} == {key: getattr(theirs, key) for key in ENCODERS[kind]}
    if kind == "lasr_ctc":
        assert ours["rope_parameters"]["rope_theta"] == theirs.rope_parameters["rope_theta"]


@pytest.mark.parametrize(
    ("kind", "written", "named"),
    [
        ("parakeet_ctc", {"encoder_config": [1]}, "the encoder_config [1]. Expected an object"),
        ("parakeet_ctc", {"encoder_config": {"hidden_act": "prelu"}}, "the hidden_act 'prelu'. Expected one of gelu"),
        ("parakeet_ctc", {"encoder_config": {"subsampling_factor": 6}}, "a power of two"),
        ("parakeet_ctc", {"encoder_config": {"num_mel_bins": 81}}, "num_mel_bins 81. Expected a multiple of 8"),
        ("parakeet_ctc", {"encoder_config": {"conv_kernel_size": 8}}, "an odd number"),
        ("parakeet_ctc", {"encoder_config": {"num_attention_heads": 3}}, "a divisor of hidden_size 1024"),
        ("lasr_ctc", {"encoder_config": {"conv_residual_weights": [1.0]}}, "a list of two numbers above 0"),
        ("lasr_ctc", {"encoder_config": {"feed_forward_residual_weights": [0, 1]}}, "a list of two numbers above 0"),
        ("lasr_ctc", {"encoder_config": {"hidden_size": 24}}, "an even number of channels"),
        ("lasr_ctc", {"encoder_config": {"rope_parameters": {"rope_type": "yarn"}}}, "the rope_type 'yarn'"),
        ("wav2vec2-bert", {"adapter_kernel_size": 5}, "as wide as adapter_stride 2, or one more"),
        ("wav2vec2-bert", {"output_hidden_size": 100}, "a multiple of num_attention_heads 16"),
        ("wav2vec2-bert", {"position_embeddings_type": "sinusoidal"}, "one of relative, rotary, relative_key"),
        ("wav2vec2-conformer", {"conv_depthwise_kernel_size": 30}, "an odd number"),
        ("wav2vec2-conformer", {"position_embeddings_type": "rotary", "hidden_size": 36}, "an even number of channels"),
        ("sew", {"squeeze_factor": 65}, "at most half of num_conv_pos_embeddings"),
    ],
)
def test_what_the_ctc_kin_cannot_have_is_refused(kind: str, written: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelError) as caught:
        checked({"model_type": kind, "vocab_size": 32, **{"num_conv_pos_embedding_groups": 4}, **written}, PATH)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "written",
    [
        {"rope_theta": 500.0, "partial_rotary_factor": 0.5},
        {"rope_parameters": {"rope_theta": 500.0}},
        {"rope_scaling": {"type": "default", "partial_rotary_factor": 0.5}, "rope_parameters": {"rope_theta": 500.0}},
        {"rope_parameters": None},
    ],
)
def test_the_rotary_settings_are_found_wherever_the_file_keeps_them(written: dict[str, Any]) -> None:
    ours = checked({"model_type": "moonshine", "vocab_size": 32, **written}, PATH)["rope_parameters"]
    theirs = transformers.MoonshineConfig(**json.loads(json.dumps(written))).rope_parameters
    assert {key: theirs[key] for key in ROPE_FIELDS} == {key: ours[key] for key in ROPE_FIELDS}


WRONG: list[tuple[Path, str, Any]] = [
    (GRAFT, "hidden_size", "288"),
    (GRAFT, "hidden_size", 288.0),
    (GRAFT, "hidden_size", -288),
    (GRAFT, "hidden_size", 10**30),
    (GRAFT, "hidden_size", None),
    (GRAFT, "num_hidden_layers", True),
    (GRAFT, "num_hidden_layers", 0),
    (GRAFT, "num_hidden_layers", 10**9),
    (GRAFT, "num_attention_heads", 7),
    (GRAFT, "vocab_size", [32]),
    (GRAFT, "conv_bias", "false"),
    (GRAFT, "conv_bias", 1),
    (GRAFT, "conv_stride", [64, 3, 0]),
    (GRAFT, "conv_stride", [64, 3]),
    (GRAFT, "conv_stride", 64),
    (GRAFT, "conv_kernel", []),
    (GRAFT, "conv_kernel", [127, 7, 3.0]),
    (GRAFT, "conv_dim", [1] * 100_000),
    (GRAFT, "num_conv_pos_embedding_groups", 7),
    (GRAFT, "layer_norm_eps", float("nan")),
    (GRAFT, "layer_norm_eps", "1e-5"),
    (GRAFT, "hidden_act", ["gelu"]),
    (GRAFT, "hidden_act", {"a": 1}),
    (GRAFT, "feat_extract_norm", 1),
    (GRAFT, "max_bucket_distance", 10**12),
    (GRAFT, "model_type", "hubert"),
    (GRAFT, "model_type", 5),
    (GRAFT, "architectures", "WavLMForCTC"),
    (GRAFT, "architectures", [5]),
    (GRAFT, "architectures", {"a": "WavLMForCTC"}),
    (GRAFT, "pad_token_id", "0"),
    (GRAFT, "pad_token_id", True),
    (MOONSHINE, "encoder_num_key_value_heads", 4),
    (MOONSHINE, "decoder_num_attention_heads", 7),
    (MOONSHINE, "encoder_num_hidden_layers", 10**9),
    (MOONSHINE, "head_dim", 0.5),
    (MOONSHINE, "decoder_hidden_act", "prelu"),
    (MOONSHINE, "tie_word_embeddings", "yes"),
    (MOONSHINE, "rope_parameters", [1]),
    (MOONSHINE, "decoder_start_token_id", [1, 2]),
]


@pytest.mark.parametrize(("model", "field", "value"), WRONG, ids=[f"{f}={str(v)[:20]}" for _, f, v in WRONG])
def test_a_value_that_cannot_be_is_refused_by_file_and_field(
    tmp_path: Path, model: Path, field: str, value: Any
) -> None:
    folder = copy(tmp_path / "model", model, without=("model.safetensors", "generation_config.json"))
    edit(folder / "config.json", **{field: value})
    began = time.perf_counter()
    with pytest.raises(ModelError) as caught:
        load_frontend(folder)
    assert time.perf_counter() - began < 5
    assert str(folder / "config.json") in str(caught.value)
    assert field in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("key", ["rope_theta", "partial_rotary_factor", "rope_type"])
def test_a_rotary_setting_that_cannot_be_is_refused(tmp_path: Path, key: str) -> None:
    folder = copy(tmp_path / "model", MOONSHINE, without=("model.safetensors",))
    edit(folder / "config.json", rope_parameters={key: "yarn"})
    assert f"the {key} 'yarn'" in refusal(folder)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "5",
        "null",
        "[" * 100_000,
        '{"a": ' * 100_000,
        '{"model_type": ' + "9" * 5000 + "}",
        "\udcff",
        '{"a": 1}',
    ],
    ids=["cut", "list", "number", "null", "nested", "nested objects", "long number", "not UTF-8", "other"],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ModelError, match="config.json"):
        read_config(tmp_path)


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ModelError, match="config.json cannot be read"):
        read_config(tmp_path)


def test_quantised_weights_are_told_by_the_configuration(tmp_path: Path) -> None:
    folder = copy(tmp_path / "model")
    edit(folder / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    assert "quantised already" in refusal(folder)


def test_defaults_that_are_left_out_change_nothing(tmp_path: Path) -> None:
    folder = copy(tmp_path / "model", MOONSHINE)
    edit(
        folder / "config.json",
        "hidden_size",
        "intermediate_size",
        "encoder_hidden_act",
        "rope_parameters",
        "tie_word_embeddings",
    )
    assert len(load(folder).ops()) == len(load(MOONSHINE).ops())
