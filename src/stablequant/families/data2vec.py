"""data2vec-audio with a CTC head: the plan of wav2vec 2.0 with several positional convolutions, each normalised.

transformers makes padded frames zero before the first of these convolutions alone; here before each, so that an utterance
gets the same logits in any company.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stablequant.families import blocks
from stablequant.families.ctc import CtcFamily, ctc_outputs, waveform_inputs
from stablequant.families.family import family
from stablequant.network.graph import Graph

BASE = "data2vec_audio"


@family
class Data2VecAudio(CtcFamily):
    """``Data2VecAudioForCTC``."""

    architectures = ("Data2VecAudioForCTC",)

    def build(self, config: Mapping[str, Any], weights: dict[str, Tensor]) -> tuple[Graph]:
        """The graph "model", as `Wav2Vec2.build` has it; ``config`` as `config_file.checked` returns it."""
        layers = [f"{BASE}.encoder.pos_conv_embed.layers.{i}" for i in range(config["num_conv_pos_embeddings"])]
        # A norm without weights is one with ones.
        ones = {f"{layer}.layer_norm.weight": torch.ones(config["hidden_size"]) for layer in layers}
        g = Graph("model", {**weights, **ones})
        x, frames = blocks.convolutions(
            g,
            f"{BASE}.feature_extractor",
            *waveform_inputs(g),
            strides=config["conv_stride"],
            norm="layer",
            activation=config["feat_extract_activation"],
            bias=config["conv_bias"],
        )
        x = g.layer_norm(x, f"{BASE}.feature_projection.layer_norm", config["layer_norm_eps"])
        x = g.add("mask", g.linear(x, f"{BASE}.feature_projection.projection", frames), frames)
        place = x
        for layer in layers:
            groups = config["num_conv_pos_embedding_groups"]
            place = blocks.positions(g, g.add("mask", place, frames), frames, f"{layer}.conv", groups=groups)
            place = g.layer_norm(place, f"{layer}.layer_norm", bias=False)
            place = g.add("activation", place, function=config["feat_extract_activation"])
        x = g.layer_norm(g.add("add", x, place), f"{BASE}.encoder.layer_norm", config["layer_norm_eps"])
        for i in range(config["num_hidden_layers"]):
            x = blocks.layer(g, x, frames, f"{BASE}.encoder.layers.{i}", config)
        if config["add_adapter"]:
            x, frames = blocks.adapter(g, x, frames, f"{BASE}.adapter", config)
        return ctc_outputs(g, x, frames)
