"""SEW with a CTC head: the plan of wav2vec 2.0 with an encoder that runs on a fraction of the frames.

Frames are averaged before the encoder (``squeeze_factor`` of them make one) and made of its channels again behind it (Wu et
al. 2021, arXiv 2109.06870). Frames at the end that fill no group get zeros, in transformers and here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from stablequant.families import blocks
from stablequant.families.ctc import CtcFamily, ctc_outputs, waveform_inputs
from stablequant.families.family import Bounds, family
from stablequant.network.graph import Graph, receptive_field

CONV = "sew.encoder.pos_conv_embed.conv"


@family
class Sew(CtcFamily):
    """``SEWForCTC``."""

    architectures = ("SEWForCTC",)

    def build(self, config: Mapping[str, Any], weights: dict[str, Tensor]) -> tuple[Graph]:
        """The graph "model", as `Wav2Vec2.build` has it; ``config`` as `config_file.checked` returns it."""
        g = Graph("model", blocks.folded(weights, CONV))
        x, frames = blocks.convolutions(
            g,
            "sew.feature_extractor",
            *waveform_inputs(g),
            strides=config["conv_stride"],
            norm=config["feat_extract_norm"],
            activation=config["feat_extract_activation"],
            bias=config["conv_bias"],
        )
        x = g.layer_norm(x, "sew.layer_norm", config["layer_norm_eps"])
        if config["conv_dim"][-1] != config["hidden_size"]:
            x = g.linear(x, "sew.feature_projection", frames)
        like = x = g.add("mask", x, frames)
        factor, groups = config["squeeze_factor"], config["num_conv_pos_embedding_groups"]
        place = blocks.positions(g, x, frames, CONV, groups=groups, stride=factor)
        place = g.add("activation", place, function=config["feat_extract_activation"])
        squeezed = g.add("conv_lengths", frames, kernel=factor, stride=factor)
        x = g.add("add", g.add("average_pool", x, factor=factor), place)
        x = g.layer_norm(x, "sew.encoder.layer_norm", config["layer_norm_eps"])
        for i in range(config["num_hidden_layers"]):
            x = blocks.layer(g, x, squeezed, f"sew.encoder.layers.{i}", config)
        x = g.linear(x, "sew.encoder.upsample.projection", squeezed)
        x = g.add("activation", x, function=config["feat_extract_activation"])
        x = g.add("upsample", x, squeezed, like, factor=factor, channels=config["hidden_size"])
        return ctc_outputs(g, x, frames)

    def bounds(self, config: Mapping[str, Any]) -> Bounds:
        """As of other convolutions, for as many frames as are averaged: attention sees one of them."""
        factor = config["squeeze_factor"]
        seen = [*zip(config["conv_kernel"], config["conv_stride"], strict=True), (factor, factor)]
        plain = super().bounds(config)
        return replace(plain, shortest=receptive_field(seen), squared=plain.squared / factor**2)
