"""Parakeet with a CTC head: FastConformer (Rekesh et al. 2023, arXiv 2305.05084) on a log-mel spectrogram.

Convolutions over time and frequency make one frame of eight, then conformer layers follow. A spectrogram is ``[B, F, T, C]``
here, bands where attention has heads, so that time is the last axis but one everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablequant.families.conformer import OWN, Conformer, Names
from stablequant.families.ctc import RATE, CtcFamily, attention_bounds, ctc_outputs, spectra, spectrum_inputs
from stablequant.families.family import Bounds, Features, family
from stablequant.network.graph import Graph

NAMES = Names(
    feed_forward=(("norm_feed_forward1", "feed_forward1"), ("norm_feed_forward2", "feed_forward2")),
    dense=("linear1", "linear2"),
    attention=("norm_self_att", "self_attn"),
    projections=("q_proj", "k_proj", "v_proj", "o_proj"),
    positions=("relative_k_proj", "bias_u", "bias_v"),
    convolution=("norm_conv", "conv"),
    depth_norm="norm",
    last="norm_out",
)
SUBSAMPLING = "encoder.subsampling"
#: Samples from one spectrum to the next: that of the published feature extractors.
HOP = 160


@family
class Parakeet(CtcFamily):
    """``ParakeetForCTC``."""

    architectures = ("ParakeetForCTC",)

    def build(self, config: Mapping[str, Any], weights: dict[str, Tensor]) -> tuple[Graph]:
        """The graph "model", as `spectrum_inputs` and `ctc_outputs` have it.

        Args:
            config: The fields of the encoder's configuration and the head's ``vocab_size``, with or without ``encoder_config``.
            weights: The checkpoint's, float32; left as they are.
        """
        config = {**config, **config.get("encoder_config", {})}
        kind = Conformer(
            width=config["hidden_size"],
            heads=config["num_attention_heads"],
            activation=config["hidden_act"],
            positions="relative",
            names=NAMES,
            bias=config["attention_bias"],
            convolution_bias=config["convolution_bias"],
        )
        layers = [f"encoder.layers.{i}" for i in range(config["num_hidden_layers"])]
        g = Graph("model", _prepared(kind, weights, layers, config))
        x, frames = _subsampled(g, *spectrum_inputs(g, config["num_mel_bins"]), config)
        places = kind.places(g, x)
        for layer in layers:
            x = kind.layer(g, x, frames, layer, places)
        return ctc_outputs(g, x, frames, "ctc_head")

    def features(self, processor: Any, waveforms: Sequence[NDArray[np.float32]]) -> Features:
        """Log-mel features; see `spectra`."""
        return spectra(processor, waveforms)

    def bounds(self, config: Mapping[str, Any]) -> Bounds:
        """Features are normalised by their own variance: two spectra are the fewest."""
        spectra_a_second, stride = RATE / HOP, config["subsampling_conv_stride"]
        convolved = config["subsampling_conv_channels"] * config["num_mel_bins"] * spectra_a_second / stride**2
        return attention_bounds(2 * HOP, config, spectra_a_second / config["subsampling_factor"], convolved)


def stages(config: Mapping[str, Any]) -> int:
    """Strided convolutions that make one frame of ``subsampling_factor``."""
    return int(math.log2(config["subsampling_factor"]))


def _subsampled(g: Graph, x: str, lengths: str, config: Mapping[str, Any]) -> tuple[str, str]:
    """Spectra [B, T, F] -> frames [B, T', C], and how many of them are valid; padding is zero before each convolution."""
    kernel, stride = config["subsampling_conv_kernel_size"], config["subsampling_conv_stride"]
    padding, channels = (kernel - 1) // 2, config["subsampling_conv_channels"]
    x = g.add("split_heads", x, heads=config["num_mel_bins"])
    for stage in range(stages(config)):
        name = f"{SUBSAMPLING}.layers.{3 * stage - 1 if stage else 0}"
        x = g.add("mask", x, lengths, between=1)
        x = g.conv2d(x, name, lengths, stride=stride, padding=padding, groups=channels if stage else 1)
        lengths = g.add("conv_lengths", lengths, kernel=kernel, stride=stride, padding=padding)
        if stage:
            x = g.linear(x, f"{SUBSAMPLING}.layers.{3 * stage}", lengths)
        x = g.add("activation", x, function="relu")
    return g.linear(g.add("merge_heads", x), f"{SUBSAMPLING}.linear", lengths), lengths


def _prepared(
    kind: Conformer, weights: dict[str, Tensor], layers: list[str], config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Also: bands before time in kernels, single steps as matrices, and the factor of the input within its projection."""
    prepared = kind.prepared(weights, layers)
    for key in [key for key in prepared if key.startswith(f"{SUBSAMPLING}.layers.") and prepared[key].dim() == 4]:
        single = prepared[key].shape[2:] == (1, 1)
        prepared[key] = prepared[key][:, :, 0, 0] if single else prepared[key].transpose(2, 3).contiguous()
    factor = math.sqrt(kind.width) if config["scale_input"] else 1.0
    key, channels = f"{SUBSAMPLING}.linear", config["subsampling_conv_channels"]
    if f"{key}.weight" in prepared:  # a frame's channels by bands, no longer its bands by channels
        weight = prepared[f"{key}.weight"]
        prepared[f"{key}.weight"] = factor * weight.reshape(len(weight), channels, -1).transpose(1, 2).flatten(1)
    if f"{key}.bias" in prepared:
        prepared[f"{key}.bias"] = factor * prepared[f"{key}.bias"]
    if "ctc_head.weight" in prepared:
        prepared["ctc_head.weight"] = prepared["ctc_head.weight"].squeeze(2)
    even = torch.arange(0, kind.width, 2).float()
    prepared[f"{OWN}.frequencies"] = 1.0 / (10_000.0 ** (even / kind.width))
    return prepared
