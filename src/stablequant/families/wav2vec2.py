"""wav2vec 2.0, HuBERT and WavLM with a CTC head: convolutions on the waveform, an encoder, one projection.

The three share one plan and differ in details: where the layer norms stand, how the feature extractor
normalises, and WavLM's gated relative positions. Padding is left out everywhere, whatever the checkpoint's
``return_attention_mask`` says, so an utterance gets the same logits in any company.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stablequant.errors import ModelError
from stablequant.families import blocks
from stablequant.families.family import Bounds, Features, family, raw_waveforms
from stablequant.families.relative_position import distance_table, sum_fours
from stablequant.heads.ctc import CtcHead
from stablequant.heads.vocabulary import check_vocabulary
from stablequant.network.graph import Graph, check_weights, receptive_field
from stablequant.network.kernels import ACTIVATIONS

#: ``model_type`` of the configurations that ``build`` understands; also what their weights' names begin with.
MODEL_TYPES = ("wav2vec2", "hubert", "wavlm")

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
}

#: Settings that add a part which the graph does not have, and what that part is.
UNSUPPORTED: Mapping[str, str] = {
    "add_adapter": "convolutions on top of the encoder are",
    "adapter_attn_dim": "adapters in the attention blocks, one set a language, are",
    "conv_pos_batch_norm": "a batch norm before the positional convolution is",
}


@family
class Wav2Vec2:
    """``Wav2Vec2ForCTC``, ``HubertForCTC`` and ``WavLMForCTC``."""

    architectures = ("Wav2Vec2ForCTC", "HubertForCTC", "WavLMForCTC")

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
        samples = g.input("input_values", "float32", ("batch", "samples"))
        lengths = g.input("input_lengths", "int64", ("batch",))

        x, frames = _features(g, settings, samples, lengths)
        x = _project(g, settings, x, frames)
        x = _encode(g, settings, x, frames)
        g.output(g.linear(x, "lm_head", frames), "logits", ("batch", "frames", "vocabulary"))
        g.output(frames, "frames", ("batch",), dtype="int64")
        check_weights(g)
        return (g,)

    def head(self, config: Mapping[str, Any], processor: Any) -> CtcHead:
        """Best path; see `Family.head`."""
        tokenizer = processor.tokenizer
        check_vocabulary(tokenizer, int(config["vocab_size"]), padded=False)
        return CtcHead(tokenizer, int(config["pad_token_id"]), frozenset(tokenizer.get_vocab()))

    def features(self, processor: Any, waveforms: Sequence[NDArray[np.float32]]) -> Features:
        """The waveform; see `raw_waveforms`."""
        return raw_waveforms(processor, waveforms)

    def bounds(self, config: Mapping[str, Any]) -> Bounds:
        """From the receptive field of the convolutions."""
        settings = {**DEFAULTS, **config}
        return Bounds(receptive_field(zip(settings["conv_kernel"], settings["conv_stride"], strict=True)))


def _check(settings: Mapping[str, Any]) -> None:
    """Refuse what would otherwise be computed wrongly or left out without a word."""
    if settings.get("model_type") not in MODEL_TYPES:
        raise _unfit(settings, "model_type", f"one of {', '.join(MODEL_TYPES)}")
    for key, part in UNSUPPORTED.items():
        if settings.get(key):
            what = f"config.json sets {key}: {part} not supported"
            raise ModelError(what, expected=f"a model without {key}", fix="use a checkpoint without it")
    if settings["feat_extract_norm"] not in ("group", "layer"):
        raise _unfit(settings, "feat_extract_norm", "group or layer")
    for key in ("hidden_act", "feat_extract_activation"):
        if settings[key] not in ACTIVATIONS:
            raise _unfit(settings, key, f"one of {', '.join(ACTIVATIONS)}")
    convolutions = len(settings["conv_dim"])
    for key in ("conv_kernel", "conv_stride"):
        if len(settings[key]) != convolutions:
            raise _unfit(settings, key, f"{convolutions} numbers, as in conv_dim")
    if settings["hidden_size"] % settings["num_attention_heads"]:
        raise _unfit(settings, "num_attention_heads", f"a divisor of hidden_size {settings['hidden_size']}")
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
        f"{settings['model_type']}.feature_extractor",
        samples,
        lengths,
        strides=settings["conv_stride"],
        norm=settings["feat_extract_norm"],
        activation=settings["feat_extract_activation"],
        bias=bool(settings["conv_bias"]),
    )


def _project(g: Graph, settings: Mapping[str, Any], x: str, frames: str) -> str:
    name = f"{settings['model_type']}.feature_projection"
    if settings["model_type"] != "hubert" or settings["feat_proj_layer_norm"]:
        x = g.layer_norm(x, f"{name}.layer_norm", settings["layer_norm_eps"])
    return g.linear(x, f"{name}.projection", frames)


def _encode(g: Graph, settings: Mapping[str, Any], x: str, frames: str) -> str:
    """Positions and layers; with ``do_stable_layer_norm`` norms come before each block, else after it."""
    stable, eps, act = (settings[key] for key in ("do_stable_layer_norm", "layer_norm_eps", "hidden_act"))
    name = f"{settings['model_type']}.encoder.layer_norm"
    x = _add_positions(g, settings, x, frames)
    bias = _relative_bias(g, settings, x) if settings["model_type"] == "wavlm" else ""
    x = x if stable else g.layer_norm(x, name, eps)
    for layer in _layers(settings):
        if stable:
            h = g.layer_norm(x, f"{layer}.layer_norm", eps)
            x = g.add("add", x, _attend(g, settings, h, frames, f"{layer}.attention", bias))
            h = g.layer_norm(x, f"{layer}.final_layer_norm", eps)
            x = g.add("add", x, blocks.feed_forward(g, h, frames, f"{layer}.feed_forward", act))
        else:
            x = g.add("add", x, _attend(g, settings, x, frames, f"{layer}.attention", bias))
            x = g.layer_norm(x, f"{layer}.layer_norm", eps)
            x = g.add("add", x, blocks.feed_forward(g, x, frames, f"{layer}.feed_forward", act))
            x = g.layer_norm(x, f"{layer}.final_layer_norm", eps)
    return g.layer_norm(x, name, eps) if stable else x


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


def _attend(g: Graph, settings: Mapping[str, Any], x: str, frames: str, name: str, bias: str) -> str:
    """Self-attention with its four projections; ``bias`` is WavLM's, "" for the others."""
    heads = int(settings["num_attention_heads"])
    q, k, v = (blocks.in_heads(g, x, f"{name}.{p}_proj", frames, heads) for p in "qkv")
    if bias:
        split = g.add("split_heads", x, heads=heads)
        logits = g.linear(split, f"{name}.gru_rel_pos_linear", frames)
        gate = g.add("relative_gate", logits, weights={"constant": f"{name}.gru_rel_pos_const"})
        bias = g.add("mul", gate, bias)
    context = blocks.attend(g, q, k, v, frames, name, scale=(settings["hidden_size"] // heads) ** -0.5, bias=bias)
    return g.linear(context, f"{name}.out_proj", frames)


def _layers(settings: Mapping[str, Any]) -> list[str]:
    return [f"{settings['model_type']}.encoder.layers.{i}" for i in range(settings["num_hidden_layers"])]


def _position_conv(settings: Mapping[str, Any]) -> str:
    return f"{settings['model_type']}.encoder.pos_conv_embed.conv"
