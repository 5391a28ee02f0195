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
from stablequant.families.conformer import OWN, Conformer, Names
from stablequant.families.ctc import CtcFamily, ctc_outputs, spectra, spectrum_inputs, waveform_inputs
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
        return Bounds(WINDOW + HOP)


def _prepared(kind: Conformer, weights: dict[str, Tensor], config: Mapping[str, Any], base: str) -> dict[str, Tensor]:
    prepared = kind.prepared(weights, [f"{base}.encoder.layers.{i}" for i in range(config["num_hidden_layers"])])
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
