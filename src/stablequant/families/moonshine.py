"""Moonshine: a waveform encoder with three convolutions, and a decoder with a key-value cache.

The keys and values of cross-attention depend on the encoder alone, so the encoder graph ends with them: they are
computed once an utterance, and one decoder graph serves the first step and every later one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablequant.families import encoder_decoder as parts
from stablequant.families.family import Bounds, Features, family, raw_waveforms
from stablequant.heads.decoder import DecoderSpec
from stablequant.heads.seq2seq import Seq2SeqHead
from stablequant.heads.vocabulary import check_vocabulary
from stablequant.network.graph import Graph, check_weights, receptive_field

#: Kernel and stride of the three convolutions on the waveform; they are the same in every size, and config.json does not
#: tell them.
CONVOLUTIONS = ((127, 64), (7, 3), (3, 2))
#: Moonshine loops on noise unless its output is bounded by the audio: tokens a second, and a few for very short clips.
TOKENS_A_SECOND, TOKENS_AT_LEAST = 10.0, 5
#: It was trained on clips of up to 30 seconds (Jeffries et al. 2024, arXiv 2410.15608), and repeats itself on longer ones.
LONGEST = 30.0


@family
class Moonshine:
    """``MoonshineForConditionalGeneration``, every size."""

    architectures = ("MoonshineForConditionalGeneration",)

    def build(self, config: Mapping[str, Any], weights: dict[str, Tensor]) -> tuple[Graph, Graph]:
        """Encoder and decoder graphs.

        Encoder: ``input_values`` [B, samples], ``input_lengths`` [B] -> ``encoder_lengths`` [B] and for each decoder layer
        ``cross_key_i``, ``cross_value_i`` [B, H, frames, d].
        Decoder: ``input_ids`` [B, tokens], ``encoder_lengths``, the cross keys and values, ``past_key_i``, ``past_value_i``
        [B, H, past, d] -> ``logits`` [B, tokens, V], ``key_i``, ``value_i`` [B, H, past + tokens, d].

        Raises:
            ModelError: The checkpoint lacks weights; names each.
        """
        shared = {**weights, **_rotary_constants(config, _head_size(config))}
        graphs = _encoder(config, shared), _decoder(config, shared)
        check_weights(*graphs)
        return graphs

    def head(self, config: Mapping[str, Any], processor: Any) -> Seq2SeqHead:
        """Greedy search; see `Family.head`."""
        check_vocabulary(processor.tokenizer, int(config["vocab_size"]), padded=True)
        decoder = DecoderSpec(
            prompt=(config["decoder_start_token_id"],),
            end=config["eos_token_id"],
            cache=parts.cache_of(config["decoder_num_hidden_layers"]),
            heads=int(config["decoder_num_attention_heads"]),
            head_size=_head_size(config),
        )
        rate = int(processor.feature_extractor.sampling_rate)
        return Seq2SeqHead(processor.tokenizer, decoder, rate, TOKENS_A_SECOND, TOKENS_AT_LEAST)

    def features(self, processor: Any, waveforms: Sequence[NDArray[np.float32]]) -> Features:
        """The waveform; see `raw_waveforms`."""
        return raw_waveforms(processor, waveforms)

    def bounds(self, config: Mapping[str, Any]) -> Bounds:
        """From the receptive field of the convolutions, and the clips it was trained on."""
        return Bounds(receptive_field(CONVOLUTIONS), LONGEST)


def _encoder(config: Mapping[str, Any], weights: dict[str, Tensor]) -> Graph:
    g = Graph("encoder", weights)
    samples = g.input("input_values", "float32", ("batch", "samples"))
    lengths = g.input("input_lengths", "int64", ("batch",))
    x = g.add("unsqueeze_last", samples)

    def conv(x: str, lengths: str, name: str, stride: int, *, bias: bool = True) -> tuple[str, str]:
        y = g.conv1d(x, f"model.encoder.{name}", lengths, stride=stride, bias=bias)
        kernel = g.kernel_size(f"model.encoder.{name}")
        return y, g.add("conv_lengths", lengths, kernel=kernel, stride=stride)

    x, lengths = conv(x, lengths, "conv1", 64, bias=False)
    x = g.add("activation", x, function="tanh")
    x = g.group_norm(x, "model.encoder.groupnorm", lengths, groups=1)
    for name, stride in (("conv2", 3), ("conv3", 2)):
        x, lengths = conv(x, lengths, name, stride)
        x = g.add("activation", x, function="gelu")

    heads, bias = int(config["encoder_num_attention_heads"]), bool(config.get("attention_bias", False))
    cos, sin = g.add_many("rotary_tables", x, count=2, weights={"frequencies": "rotary.frequencies"})
    for i in range(config["encoder_num_hidden_layers"]):
        layer = f"model.encoder.layers.{i}"
        h = g.layer_norm(x, f"{layer}.input_layernorm", bias=False)
        q, k, v = _projections(g, h, f"{layer}.self_attn", heads, lengths, bias=bias)
        q, k = _rotate(g, q, cos, sin), _rotate(g, k, cos, sin)
        h = _attend(g, q, k, v, f"{layer}.self_attn", lengths=lengths, key_lengths=lengths)
        x = g.add("add", x, h)
        h = g.layer_norm(x, f"{layer}.post_attention_layernorm", bias=False)
        fc1, fc2 = f"{layer}.mlp.fc1", f"{layer}.mlp.fc2"
        x = g.add("add", x, parts.feed_forward(g, h, fc1, fc2, config["encoder_hidden_act"], lengths))
    x = g.layer_norm(x, "model.encoder.layer_norm", bias=False)

    heads, layers = int(config["decoder_num_attention_heads"]), int(config["decoder_num_hidden_layers"])
    parts.give_out_cross(
        g, x, layers, heads, _head_size(config), "frames", lengths, bias=dict.fromkeys(parts.ROLES, bias)
    )
    g.output(lengths, "encoder_lengths", ("batch",), dtype="int64")
    return g


def _decoder(config: Mapping[str, Any], weights: dict[str, Tensor]) -> Graph:
    g = Graph("decoder", weights)
    heads, head_size = int(config["decoder_num_attention_heads"]), _head_size(config)
    bias = bool(config.get("attention_bias", False))
    layers = int(config["decoder_num_hidden_layers"])

    ids = g.input("input_ids", "int64", ("batch", "tokens"))
    frames = g.input("encoder_lengths", "int64", ("batch",))
    cross = parts.attention_inputs(g, "cross", layers, heads, "frames", head_size)
    past = parts.attention_inputs(g, "past", layers, heads, "past", head_size)

    x = parts.embedded(g, ids)
    cos, sin = g.add_many("rotary_tables", x, past[0][0], count=2, weights={"frequencies": "rotary.frequencies"})
    for i in range(layers):
        layer = f"model.decoder.layers.{i}"
        h = g.layer_norm(x, f"{layer}.input_layernorm", bias=False)
        q, k, v = _projections(g, h, f"{layer}.self_attn", heads, bias=bias)
        q, k = _rotate(g, q, cos, sin), _rotate(g, k, cos, sin)
        k, v = parts.remembered(g, past[i], [k, v], i, heads, head_size)
        h = _attend(g, q, k, v, f"{layer}.self_attn", causal=True)
        x = g.add("add", x, h)
        h = g.layer_norm(x, f"{layer}.post_attention_layernorm", bias=False)
        q = parts.projected(g, h, f"{layer}.encoder_attn.q_proj", heads, bias=bias)
        k, v = cross[i]
        h = _attend(g, q, k, v, f"{layer}.encoder_attn", key_lengths=frames)
        x = g.add("add", x, h)
        h = g.linear(g.layer_norm(x, f"{layer}.final_layernorm", bias=False), f"{layer}.mlp.fc1")
        value, gate = g.add_many("chunk", h, count=2)
        h = g.add("mul", g.add("activation", gate, function=config["decoder_hidden_act"]), value)
        x = g.add("add", x, g.linear(h, f"{layer}.mlp.fc2"))
    x = g.layer_norm(x, "model.decoder.norm", bias=False)
    parts.give_out_logits(g, x)
    return g


def _projections(g: Graph, x: str, name: str, heads: int, lengths: str = "", *, bias: bool) -> list[str]:
    return [parts.projected(g, x, f"{name}.{p}_proj", heads, lengths, bias=bias) for p in "qkv"]


def _rotate(g: Graph, x: str, cos: str, sin: str) -> str:
    return g.add("rotary", x, cos, sin, weights={"rotation": "rotary.rotation"})


def _attend(
    g: Graph, q: str, k: str, v: str, name: str, *, lengths: str = "", key_lengths: str = "", causal: bool = False
) -> str:
    """Scaled dot-product attention and its output projection."""
    head_size = g.weights["rotary.rotation"].shape[0]
    h = parts.attend(g, q, k, v, name, head_size=head_size, lengths=lengths, key_lengths=key_lengths, causal=causal)
    return g.linear(h, f"{name}.o_proj", lengths, bias=False)


def _head_size(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["decoder_num_attention_heads"])


def _rotary_constants(config: Mapping[str, Any], head_size: int) -> dict[str, Tensor]:
    """Frequencies ``[d]`` and the matrix ``[d, d]`` that turns each even-odd pair by 90 degrees.

    Rotary embedding is ``x * cos + (x @ rotation) * sin``. The part of the head that is not rotated gets frequency 0
    and no entry in the matrix, so it passes through without being cut off and glued back on.
    """
    rope = config["rope_parameters"] if "rope_parameters" in config else config
    dims = int(head_size * rope.get("partial_rotary_factor", 1.0))
    even = torch.arange(0, dims, 2)  # of an odd number of dimensions the last is turned with the one beyond
    frequencies = torch.zeros(head_size)
    frequencies[: 2 * len(even)] = (float(rope["rope_theta"]) ** -(even / dims)).repeat_interleave(2)
    rotation = torch.zeros(head_size, head_size)
    rotation[even + 1, even] = -1.0
    rotation[even, even + 1] = 1.0
    return {"rotary.frequencies": frequencies, "rotary.rotation": rotation}
