"""wav2vec 2.0, HuBERT, WavLM, UniSpeech with a CTC head: convolutions on the waveform, an encoder, one projection.

They share one plan and differ in details: where the layer norms stand, how the feature extractor normalises, WavLM's
gated relative positions, and the adapters of wav2vec 2.0 for a language (MMS) and on top of the encoder. Padding is left
out everywhere, whatever the checkpoint's ``return_attention_mask`` says, so an utterance gets the same logits in any
company.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stablequant.errors import ModelError
from stablequant.families import blocks
from stablequant.families.ctc import CtcFamily, ctc_outputs, waveform_inputs
from stablequant.families.family import Bounds, family
from stablequant.families.relative_position import distance_table, sum_fours
from stablequant.network.activations import ACTIVATIONS
from stablequant.network.graph import LEARNT, Graph

#: ``model_type`` of the configurations that ``build`` understands; with a "_" for "-" their weights' names begin with it.
MODEL_TYPES = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")

#: What the families' configurations mean where an older config.json says nothing.
DEFAULTS: Mapping[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "feat_proj_layer_norm": True,
    "conv_dim": (512,) * 7,
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_bias": False,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "do_stable_layer_norm": False,
    "num_buckets": 320,
    "max_bucket_distance": 800,
    "add_adapter": False,
    "num_adapter_layers": 3,
    "adapter_stride": 2,
}

#: Settings that add a part which the graph does not have, what that part is, and the kinds of models that may have it.
UNSUPPORTED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "add_adapter": ("convolutions on top of the encoder are", ("wav2vec2", "wavlm")),
    "adapter_attn_dim": ("adapters in the attention blocks, one set a language, are", ("wav2vec2",)),
    "conv_pos_batch_norm": ("a batch norm before the positional convolution is", ()),
}


@family
class Wav2Vec2(CtcFamily):
    """``Wav2Vec2ForCTC``, ``HubertForCTC``, ``WavLMForCTC``, ``UniSpeechForCTC`` and ``UniSpeechSatForCTC``."""

    architectures = ("Wav2Vec2ForCTC", "HubertForCTC", "WavLMForCTC", "UniSpeechForCTC", "UniSpeechSatForCTC")

    def build(self, config: Mapping[str, Any], weights: dict[str, Tensor]) -> tuple[Graph]:
        """The graph "model": ``input_values`` [B, samples], ``input_lengths`` [B] -> ``logits`` [B, frames, V], ``frames`` [B].

        Args:
            config: The checkpoint's config.json.
            weights: Its weights, float32, by their names in the checkpoint; left as they are.

        Raises:
            ModelError: The configuration has a part that is not supported, or the checkpoint lacks weights; names each.
        """
        settings = {**DEFAULTS, **config}
        _check(settings)
        g = Graph("model", _prepare(settings, weights))
        x, frames = _features(g, settings, *waveform_inputs(g))
        x = _project(g, settings, x, frames)
        x = _encode(g, settings, x, frames)
        if settings["add_adapter"]:
            x, frames = blocks.adapter(g, x, frames, f"{_base(settings)}.adapter", settings)
        return ctc_outputs(g, x, frames)

    def bounds(self, config: Mapping[str, Any]) -> Bounds:
        """From the receptive field of the convolutions."""
        return super().bounds({**DEFAULTS, **config})


def _check(settings: Mapping[str, Any]) -> None:
    """Refuse what would otherwise be computed wrongly or left out without a word."""
    if settings.get("model_type") not in MODEL_TYPES:
        raise _unfit(settings, "model_type", f"one of {', '.join(MODEL_TYPES)}")
    for key, (part, kinds) in UNSUPPORTED.items():
        if settings.get(key) and settings["model_type"] not in kinds:
            what = f"config.json sets {key}: {part} not supported"
            raise ModelError(what, expected=f"a model without {key}", fix="use a checkpoint without it")
    if settings["feat_extract_norm"] not in ("group", "layer"):
        raise _unfit(settings, "feat_extract_norm", "group or layer")
    for key, functions in (("hidden_act", (*ACTIVATIONS, *LEARNT)), ("feat_extract_activation", tuple(ACTIVATIONS))):
        if settings[key] not in functions:
            raise _unfit(settings, key, f"one of {', '.join(functions)}")
    convolutions = len(settings["conv_dim"])
    for key in ("conv_kernel", "conv_stride"):
        if len(settings[key]) != convolutions:
            raise _unfit(settings, key, f"{convolutions} numbers, as in conv_dim")
    if settings["hidden_size"] % settings["num_attention_heads"]:
        raise _unfit(settings, "num_attention_heads", f"a divisor of hidden_size {settings['hidden_size']}")
    if settings.get("adapter_attn_dim") and not settings["do_stable_layer_norm"]:
        raise _unfit(settings, "do_stable_layer_norm", "true, where adapter_attn_dim is set")
    quarter = settings["num_buckets"] // 4
    if settings["model_type"] == "wavlm" and not 1 <= quarter < settings["max_bucket_distance"]:
        raise _unfit(settings, "max_bucket_distance", f"more than a quarter of num_buckets, {quarter}")


def _unfit(settings: Mapping[str, Any], key: str, expected: str) -> ModelError:
    return ModelError(f"config.json has the {key} {settings.get(key)!r}", expected=expected)


def _prepare(settings: Mapping[str, Any], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A copy of the weights as the graph computes with them: weight norm folded, positions by distance."""
    prepared = blocks.folded(weights, _position_conv(settings))
    if settings["model_type"] != "wavlm":
        return prepared
    attentions = [f"{layer}.attention" for layer in _layers(settings)]
    for key in (f"{a}.gru_rel_pos_linear.{role}" for a in attentions for role in ("weight", "bias")):
        if key in prepared:
            prepared[key] = sum_fours(prepared[key])
    table = f"{attentions[0]}.rel_attn_embed.weight"
    if table in prepared:
        prepared[table] = distance_table(prepared[table], settings["max_bucket_distance"])
    return prepared


def _features(g: Graph, settings: Mapping[str, Any], samples: str, lengths: str) -> tuple[str, str]:
    """The convolutions: frames [B, T, C] and how many of them are valid [B]."""
    return blocks.convolutions(
        g,
        f"{_base(settings)}.feature_extractor",
        samples,
        lengths,
        strides=settings["conv_stride"],
        norm=settings["feat_extract_norm"],
        activation=settings["feat_extract_activation"],
        bias=bool(settings["conv_bias"]),
    )


def _project(g: Graph, settings: Mapping[str, Any], x: str, frames: str) -> str:
    name = f"{_base(settings)}.feature_projection"
    if settings["model_type"] != "hubert" or settings["feat_proj_layer_norm"]:
        x = g.layer_norm(x, f"{name}.layer_norm", settings["layer_norm_eps"])
    return g.linear(x, f"{name}.projection", frames)


def _encode(g: Graph, settings: Mapping[str, Any], x: str, frames: str) -> str:
    """Positions and layers; with ``do_stable_layer_norm`` norms come before each block, else after it."""
    eps, name = settings["layer_norm_eps"], f"{_base(settings)}.encoder.layer_norm"
    x = _add_positions(g, settings, x, frames)
    table = _relative_bias(g, settings, x) if settings["model_type"] == "wavlm" else ""
    if settings["do_stable_layer_norm"]:
        for layer in _layers(settings):
            x = _stable_layer(g, settings, x, frames, layer, table)
        return g.layer_norm(x, name, eps)
    x = g.layer_norm(x, name, eps)
    for layer in _layers(settings):
        x = blocks.layer(g, x, frames, layer, settings, bias=_gated(g, settings, x, frames, layer, table))
    return x


def _stable_layer(g: Graph, settings: Mapping[str, Any], x: str, frames: str, layer: str, table: str) -> str:
    eps = settings["layer_norm_eps"]
    h = g.layer_norm(x, f"{layer}.layer_norm", eps)
    bias = _gated(g, settings, h, frames, layer, table)
    x = g.add("add", x, blocks.self_attention(g, h, frames, f"{layer}.attention", settings, bias=bias))
    h = g.layer_norm(x, f"{layer}.final_layer_norm", eps)
    x = g.add("add", x, blocks.feed_forward(g, h, frames, f"{layer}.feed_forward", settings["hidden_act"]))
    if settings.get("adapter_attn_dim"):
        x = g.add("add", x, _adapt(g, x, frames, f"{layer}.adapter_layer"))
    return x


def _add_positions(g: Graph, settings: Mapping[str, Any], x: str, frames: str) -> str:
    """The positional convolution; it looks both ways, so padded frames are made zero before it."""
    x = g.add("mask", x, frames)
    positions = blocks.positions(
        g, x, frames, _position_conv(settings), groups=settings["num_conv_pos_embedding_groups"]
    )
    return g.add("add", x, g.add("activation", positions, function=settings["feat_extract_activation"]))


def _relative_bias(g: Graph, settings: Mapping[str, Any], x: str) -> str:
    """Bias [H, T, T]: the first layer's table serves them all, each with a gate of its own."""
    table = {"table": f"{_layers(settings)[0]}.attention.rel_attn_embed.weight"}
    return g.add("relative_bias", x, weights=table, reach=settings["max_bucket_distance"])


def _gated(g: Graph, settings: Mapping[str, Any], x: str, frames: str, layer: str, table: str) -> str:
    """WavLM's bias [B, H, T, T] for the attention of a layer to ``x``; "" of the others."""
    if not table:
        return ""
    name = f"{layer}.attention"
    split = g.add("split_heads", x, heads=int(settings["num_attention_heads"]))
    logits = g.linear(split, f"{name}.gru_rel_pos_linear", frames)
    gate = g.add("relative_gate", logits, weights={"constant": f"{name}.gru_rel_pos_const"})
    return g.add("mul", gate, table)


def _adapt(g: Graph, x: str, frames: str, name: str) -> str:
    """A language's own part of a layer: down to a few channels and up again."""
    h = g.linear(g.layer_norm(x, f"{name}.norm"), f"{name}.linear_1", frames)
    return g.linear(g.add("activation", h, function="relu"), f"{name}.linear_2", frames)


def _base(settings: Mapping[str, Any]) -> str:
    """What the names of the encoder's weights begin with."""
    return str(settings["model_type"]).replace("-", "_")


def _layers(settings: Mapping[str, Any]) -> list[str]:
    return [f"{_base(settings)}.encoder.layers.{i}" for i in range(settings["num_hidden_layers"])]


def _position_conv(settings: Mapping[str, Any]) -> str:
    return f"{_base(settings)}.encoder.pos_conv_embed.conv"
