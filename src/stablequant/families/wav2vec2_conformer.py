"""wav2vec 2.0 with conformer layers, and wav2vec2-bert, which has them on a spectrogram, both with a CTC head."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablequant.errors import ModelError
from stablequant.families import blocks
from stablequant.families.conformer import OWN, ROLES, Conformer, Names
from stablequant.families.ctc import (
    RATE,
    CtcFamily,
    attention_bounds,
    ctc_outputs,
    spectra,
    spectrum_inputs,
    waveform_inputs,
)
from stablequant.families.family import Bounds, Features, family
from stablequant.heads.ctc import CtcHead
from stablequant.network.graph import Graph

#: Samples of a spectrogram's window, and from one to the next: those of the feature extractor's code.
WINDOW, HOP = 400, 160


@family
class Wav2Vec2Conformer(CtcFamily):
    """``Wav2Vec2ConformerForCTC``.

    Its checkpoints hold a positional convolution that is not part of the computation, in transformers nor here.
    """

    architectures = ("Wav2Vec2ConformerForCTC",)

    def build(self, config: Mapping[str, Any], weights: dict[str, Tensor]) -> tuple[Graph]:
        """The graph "model", as `Wav2Vec2.build` has it; ``config`` as `config_file.checked` returns it."""
        base = "wav2vec2_conformer"
        kind = Conformer(
            width=config["hidden_size"],
            heads=config["num_attention_heads"],
            activation=config["hidden_act"],
            positions=config["position_embeddings_type"] or "",
        )
        g = Graph("model", _prepared(kind, weights, config, base))
        x, frames = blocks.convolutions(
            g,
            f"{base}.feature_extractor",
            *waveform_inputs(g),
            strides=config["conv_stride"],
            norm=config["feat_extract_norm"],
            activation=config["feat_extract_activation"],
            bias=config["conv_bias"],
        )
        x = g.layer_norm(x, f"{base}.feature_projection.layer_norm", config["layer_norm_eps"])
        x = _encoded(g, kind, g.linear(x, f"{base}.feature_projection.projection", frames), frames, config, base)
        x = g.layer_norm(x, f"{base}.encoder.layer_norm", config["layer_norm_eps"])
        if config["add_adapter"]:
            x, frames = blocks.adapter(g, x, frames, f"{base}.adapter", config)
        return ctc_outputs(g, x, frames)


@family
class Wav2Vec2Bert(CtcFamily):
    """``Wav2Vec2BertForCTC``."""

    architectures = ("Wav2Vec2BertForCTC",)

    def build(self, config: Mapping[str, Any], weights: dict[str, Tensor]) -> tuple[Graph]:
        """The graph "model", as `spectrum_inputs` and `ctc_outputs` have it; ``config`` as `config_file.checked` returns it."""
        base = "wav2vec2_bert"
        kind = Conformer(
            width=config["hidden_size"],
            heads=config["num_attention_heads"],
            activation=config["hidden_act"],
            positions=config["position_embeddings_type"] or "",
            names=Names(depth_norm="depthwise_layer_norm"),
            eps=config["layer_norm_eps"],
            batch_norm=False,
            causal=True,
            reach=(config["left_max_position_embeddings"], config["right_max_position_embeddings"]),
        )
        g = Graph("model", _prepared(kind, weights, config, base))
        x, frames = spectrum_inputs(g, config["feature_projection_input_dim"])
        x = g.layer_norm(x, f"{base}.feature_projection.layer_norm", config["layer_norm_eps"])
        x = _encoded(g, kind, g.linear(x, f"{base}.feature_projection.projection", frames), frames, config, base)
        if config["use_intermediate_ffn_before_adapter"]:
            x = g.add("add", x, blocks.feed_forward(g, x, frames, f"{base}.intermediate_ffn", "relu"))
        if config["add_adapter"]:
            x, frames = _adapted(g, x, frames, f"{base}.adapter", config)
        return ctc_outputs(g, x, frames)

    def head(self, config: Mapping[str, Any], processor: Any) -> CtcHead:
        """Best path; see `Family.head`."""
        extract = processor.feature_extractor
        width, needed = extract.feature_size * getattr(extract, "stride", 1), config["feature_projection_input_dim"]
        if width != needed:
            what = f"the feature extractor gives {width} features a frame, the model takes {needed}"
            raise ModelError(what, expected="the preprocessor_config.json of this very model", fix="copy it again")
        return super().head(config, processor)

    def features(self, processor: Any, waveforms: Sequence[NDArray[np.float32]]) -> Features:
        """Log-mel features, several frames side by side; see `spectra`."""
        return spectra(processor, waveforms)

    def bounds(self, config: Mapping[str, Any]) -> Bounds:
        """Frames are put side by side, and normalised by their own variance: two are the fewest."""
        return attention_bounds(WINDOW + HOP, config, RATE / HOP / 2)


def _adapted(g: Graph, x: str, frames: str, name: str, config: Mapping[str, Any]) -> tuple[str, str]:
    """Layers of attention on fewer frames each, on top of wav2vec2-bert: what comes out, and how many frames are valid."""
    eps, stride = config["layer_norm_eps"], config["adapter_stride"]
    width = config["output_hidden_size"] or config["hidden_size"]
    if width != config["hidden_size"]:
        x = g.layer_norm(g.linear(x, f"{name}.proj", frames), f"{name}.proj_layer_norm", eps)
    for i in range(config["num_adapter_layers"]):
        layer = f"{name}.layers.{i}"
        fewer = g.add("conv_lengths", frames, kernel=config["adapter_kernel_size"], stride=stride, padding=stride // 2)
        residual, x = (
            _pooled(g, g.layer_norm(x, f"{layer}.{part}_layer_norm", eps), frames, f"{layer}.{part}_conv", stride)
            for part in ("residual", "self_attn")
        )
        x = g.add("add", _attended(g, x, fewer, f"{layer}.self_attn", config["num_attention_heads"], width), residual)
        h = g.layer_norm(x, f"{layer}.ffn_layer_norm", eps)
        x = g.add("add", blocks.feed_forward(g, h, fewer, f"{layer}.ffn", config["adapter_act"]), x)
        frames = fewer
    return x, frames


def _pooled(g: Graph, x: str, frames: str, conv: str, stride: int) -> str:
    return blocks.gated(g, g.conv1d(g.add("mask", x, frames), conv, frames, stride=stride, padding=stride // 2))


def _attended(g: Graph, x: str, frames: str, name: str, heads: int, width: int) -> str:
    q, k, v = (blocks.in_heads(g, x, f"{name}.linear_{part}", frames, heads) for part in "qkv")
    context = blocks.attend(g, q, k, v, frames, name, scale=(width // heads) ** -0.5)
    return g.linear(context, f"{name}.linear_out", frames)


def _prepared(kind: Conformer, weights: dict[str, Tensor], config: Mapping[str, Any], base: str) -> dict[str, Tensor]:
    prepared = kind.prepared(weights, [f"{base}.encoder.layers.{i}" for i in range(config["num_hidden_layers"])])
    for key in (f"{base}.intermediate_ffn.output_dense.{role}" for role in ROLES):
        if key in prepared:  # it is added by half
            prepared[key] = 0.5 * prepared[key]
    if kind.positions == "rotary":
        size = kind.width // kind.heads
        own = 1.0 / config["rotary_embedding_base"] ** (torch.arange(0, size, 2).float() / size)
        prepared[f"{OWN}.frequencies"] = weights.get(f"{base}.encoder.embed_positions.inv_freq", own).repeat(2)
    elif kind.positions == "relative":
        even = torch.arange(0, kind.width, 2).float()
        prepared[f"{OWN}.frequencies"] = torch.exp(even * -(math.log(10_000.0) / kind.width))
    return prepared


def _encoded(g: Graph, kind: Conformer, x: str, frames: str, config: Mapping[str, Any], base: str) -> str:
    places = kind.places(g, x)
    for i in range(config["num_hidden_layers"]):
        x = kind.layer(g, x, frames, f"{base}.encoder.layers.{i}", places)
    return x
