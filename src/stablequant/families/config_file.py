"""Read and check config.json before anything is built from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stablequant.errors import ModelError
from stablequant.families.config_fields import ENCODERS, FIELDS, ROPE_FIELDS
from stablequant.families.field_kinds import REQUIRED, Field
from stablequant.families.json_file import read_object

#: Classes of transformers with a table of fields, and the ``model_type`` that belongs to each.
MODEL_TYPES: Mapping[str, str] = {
    "Wav2Vec2ForCTC": "wav2vec2",
    "HubertForCTC": "hubert",
    "WavLMForCTC": "wavlm",
    "UniSpeechForCTC": "unispeech",
    "UniSpeechSatForCTC": "unispeech-sat",
    "Data2VecAudioForCTC": "data2vec-audio",
    "SEWForCTC": "sew",
    "Wav2Vec2ConformerForCTC": "wav2vec2-conformer",
    "Wav2Vec2BertForCTC": "wav2vec2-bert",
    "ParakeetForCTC": "parakeet_ctc",
    "LasrForCTC": "lasr_ctc",
    "MoonshineForConditionalGeneration": "moonshine",
    "WhisperForConditionalGeneration": "whisper",
}


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of ``folder``, with the class it names and the kind of model that class is.

    Raises:
        ModelError: The file is missing, damaged, or not the configuration of a float model; says how.
    """
    path = folder / "config.json"
    try:
        config = read_object(path)
    except FileNotFoundError as error:
        what = f"{folder} has no config.json"
        raise ModelError(what, expected="a folder in Hugging Face form") from error
    if "model_type" not in config:
        what = f"{path} has no model_type"
        raise ModelError(what, expected="the config.json of a transformers model")
    if not isinstance(config["model_type"], str):
        raise _unfit(path, config, "model_type", "a string, such as wav2vec2")
    classes = config.get("architectures")
    if classes is not None and not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise _unfit(path, config, "architectures", "a list of class names")
    name = classes[0] if classes else ""
    if MODEL_TYPES.get(name, config["model_type"]) != config["model_type"]:
        raise _unfit(path, config, "model_type", f"{MODEL_TYPES[name]}, the kind of model that {name} is")
    if config.get("quantization_config") is not None:
        what = f"{path} has a quantization_config: these weights are quantised already"
        raise ModelError(
            what,
            expected="float32, float16 or bfloat16 weights",
            fix="give the float checkpoint that these were quantised from",
        )
    if config.get("transformers_weights") is not None:
        what = f"{path} names its weights in transformers_weights"
        raise ModelError(
            what,
            expected="weights in model.safetensors, or in the files that model.safetensors.index.json names",
            fix="rename the file and remove transformers_weights",
        )
    return config


def checked(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A configuration whose fields can be relied on, with transformers' defaults where the file says nothing.

    Args:
        config: As `read_config` returns it.
        path: Of the file, for messages.

    Raises:
        ModelError: A field is missing, has a value of another kind or beyond the limits, or contradicts another field.
    """
    kind = config["model_type"]
    filled = {**config, **_fields(config, FIELDS.get(kind, {}), path)}
    if kind == "moonshine":
        _check_moonshine(filled, path)
        filled["rope_parameters"] = rope = _rope_parameters(config, path)
        head_size = filled["head_dim"] or filled["hidden_size"] // filled["decoder_num_attention_heads"]
        turned = int(head_size * rope["partial_rotary_factor"])
        if turned + turned % 2 > head_size:  # channels are turned in pairs
            raise _unfit(path, rope, "partial_rotary_factor", f"one that turns an even part of {head_size} channels")
    elif kind in ENCODERS:
        # The encoder's own fields lie deeper in the file, and side by side with the head's from here on.
        encoder = read_nested(config, "encoder_config", path)
        filled |= _fields(encoder, ENCODERS[kind], path)
        if kind == "parakeet_ctc":
            _check_parakeet(filled, path)
        else:
            _check_conformer({**filled, "position_embeddings_type": "rotary"}, path)
            filled["rope_parameters"] = _rope_parameters(encoder, path)
    elif kind == "whisper":
        for half in ("encoder", "decoder"):
            if filled["d_model"] % filled[f"{half}_attention_heads"]:
                raise _unfit(path, filled, f"{half}_attention_heads", f"a divisor of d_model {filled['d_model']}")
    elif kind in FIELDS:
        if "conv_dim" in filled:
            _check_wav2vec2(filled, path)
        _check_conformer(filled, path)
        if kind == "wav2vec2-bert":
            filled["num_mel_bins"] = filled["feature_projection_input_dim"] // 2  # two frames stand side by side
    return filled


def read_nested(config: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    """The object that ``config`` holds as ``key``; empty where there is none."""
    found = config.get(key)
    if found is not None and not isinstance(found, dict):
        raise _unfit(path, config, key, "an object, { ... }, or null")
    return found or {}


def _fields(config: Mapping[str, Any], fields: Mapping[str, Field], path: Path) -> dict[str, Any]:
    values = {}
    for key, field in fields.items():
        value = config.get(key, field.default)
        if value is REQUIRED:
            what = f"{path} has no {key}"
            raise ModelError(what, expected="the config.json that belongs to the weights", fix="copy it again")
        if not (field.optional and value is None) and not field.accepts(value):
            raise _unfit(path, config, key, field.expected)
        values[key] = value
    return values


def _check_wav2vec2(config: Mapping[str, Any], path: Path) -> None:
    convolutions = len(config["conv_dim"])
    for key in ("conv_kernel", "conv_stride"):
        if len(config[key]) != convolutions:
            raise _unfit(path, config, key, f"{convolutions} numbers, as in conv_dim")
    for key in ("num_attention_heads", "num_conv_pos_embedding_groups"):
        if config["hidden_size"] % config[key]:
            raise _unfit(path, config, key, f"a divisor of hidden_size {config['hidden_size']}")
    if config.get("squeeze_factor", 1) > max(1, config["num_conv_pos_embeddings"] // 2):
        raise _unfit(path, config, "squeeze_factor", "at most half of num_conv_pos_embeddings")


def _check_conformer(config: Mapping[str, Any], path: Path) -> None:
    if config["hidden_size"] % config["num_attention_heads"]:
        raise _unfit(path, config, "num_attention_heads", f"a divisor of hidden_size {config['hidden_size']}")
    if (
        config.get("position_embeddings_type") == "rotary"
        and config["hidden_size"] // config["num_attention_heads"] % 2
    ):
        raise _unfit(
            path, config, "num_attention_heads", "an even number of channels a head, which are turned in pairs"
        )
    width = config.get("output_hidden_size") or config["hidden_size"]
    if config.get("adapter_act") and width % config["num_attention_heads"]:
        raise _unfit(
            path, config, "output_hidden_size", f"a multiple of num_attention_heads {config['num_attention_heads']}"
        )
    if config.get("adapter_act") and config["adapter_kernel_size"] // 2 != config["adapter_stride"] // 2:
        # Frames are counted by the one and padded by the other.
        raise _unfit(
            path,
            config,
            "adapter_kernel_size",
            f"one as wide as adapter_stride {config['adapter_stride']}, or one more",
        )
    if config.get("conv_depthwise_kernel_size", 1) % 2 == 0:
        raise _unfit(path, config, "conv_depthwise_kernel_size", "an odd number")


def _check_parakeet(config: Mapping[str, Any], path: Path) -> None:
    _check_conformer(config, path)
    if config["conv_kernel_size"] % 2 == 0:
        raise _unfit(path, config, "conv_kernel_size", "an odd number")
    factor, stride = config["subsampling_factor"], config["subsampling_conv_stride"]
    if factor < 2 or factor & (factor - 1):
        raise _unfit(path, config, "subsampling_factor", "a power of two, of at least 2")
    bands, halvings = config["num_mel_bins"], factor.bit_length() - 1
    for _ in range(halvings):
        kernel = config["subsampling_conv_kernel_size"]
        bands = (bands + 2 * ((kernel - 1) // 2) - kernel) // stride + 1
    if bands < 1 or bands != config["num_mel_bins"] // stride**halvings:
        raise _unfit(path, config, "num_mel_bins", f"a multiple of {stride**halvings}, as often as it is divided")


def _check_moonshine(config: Mapping[str, Any], path: Path) -> None:
    if config["hidden_size"] % config["decoder_num_attention_heads"]:
        raise _unfit(path, config, "decoder_num_attention_heads", f"a divisor of hidden_size {config['hidden_size']}")
    for half in ("encoder", "decoder"):
        heads = config[f"{half}_num_attention_heads"]
        # Fewer key and value heads (grouped-query attention) would need an operation that the graphs do not have.
        if config[f"{half}_num_key_value_heads"] not in (None, heads):
            raise _unfit(path, config, f"{half}_num_key_value_heads", f"{heads}, as {half}_num_attention_heads")


def _rope_parameters(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Settings of the rotary embedding, wherever this version of the file keeps them.

    ``rope_scaling`` goes before ``rope_parameters``, and what neither has is looked for beside them (transformers,
    ``modeling_rope_utils.py``).
    """
    for key in ("rope_scaling", "rope_parameters"):
        if config.get(key) is not None and not isinstance(config[key], dict):
            raise _unfit(path, config, key, "an object, { ... }, or null")
    found = config.get("rope_scaling") or config.get("rope_parameters") or {}
    beside = {key: config[key] for key in ("rope_theta", "partial_rotary_factor") if key in config}
    named = {"rope_type": found["type"]} if "type" in found else {}
    return _fields({**beside, **named, **found}, ROPE_FIELDS, path)


def _unfit(path: Path, config: Mapping[str, Any], key: str, expected: str) -> ModelError:
    shown = repr(config.get(key))
    what = f"{path} has the {key} {shown if len(shown) <= 60 else shown[:57] + '...'}"
    return ModelError(what, expected=expected, fix="copy the config.json that belongs to the weights")
