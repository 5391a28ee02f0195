"""LASR with a CTC head, as MedASR has it: a conformer on a log-mel spectrogram whose residuals are weighted.

Two convolutions between linear layers make one frame of four spectra. Neither is padded, so no frame sees beyond its utterance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablequant.families.conformer import OWN, Conformer
from stablequant.families.ctc import RATE, CtcFamily, attention_bounds, ctc_outputs, spectra, spectrum_inputs
from stablequant.families.family import Bounds, Features, family
from stablequant.families.parakeet import NAMES
from stablequant.network.graph import Graph, receptive_field

SUBSAMPLER = "encoder.subsampler"
CONVOLUTIONS = ("conv_0", "conv_1")
#: Samples of a spectrum's window, and from one to the next: the feature extractor's own defaults.
WINDOW, HOP = 400, 160


@family
class Lasr(CtcFamily):
    """``LasrForCTC``."""

    architectures = ("LasrForCTC",)

    def build(self, config: Mapping[str, Any], weights: dict[str, Tensor]) -> tuple[Graph]:
        """The graph "model", as `spectrum_inputs` and `ctc_outputs` have it.

        Args:
            config: The fields of the encoder's configuration beside the head's, or in ``encoder_config`` alone.
            weights: The checkpoint's, float32; left as they are.
        """
        config = {**(config.get("encoder_config") or {}), **config}
        kind = Conformer(
            width=config["hidden_size"],
            heads=config["num_attention_heads"],
            activation=config["hidden_act"],
            positions="rotary_heads",
            names=NAMES,
            eps=config["layer_norm_eps"],
            norm_bias=False,
            bias=config["attention_bias"],
            convolution_bias=config["convolution_bias"],
            feed_forward_residual=tuple(config["feed_forward_residual_weights"]),
            convolution_residual=tuple(config["conv_residual_weights"]),
        )
        layers = [f"encoder.layers.{i}" for i in range(config["num_hidden_layers"])]
        g = Graph("model", _prepared(kind, weights, layers, config))
        x, frames = spectrum_inputs(g, config["num_mel_bins"])
        x = g.add("activation", g.linear(x, f"{SUBSAMPLER}.dense_0", frames), function="relu")
        for conv in (f"{SUBSAMPLER}.{name}" for name in CONVOLUTIONS):
            x = g.conv1d(x, conv, frames, stride=config["subsampling_conv_stride"])
            frames = g.add("conv_lengths", frames, kernel=g.kernel_size(conv), stride=config["subsampling_conv_stride"])
            x = g.add("activation", x, function="relu")
        x = g.linear(x, f"{SUBSAMPLER}.dense_1", frames)
        places = kind.places(g, x)
        for layer in layers:
            x = kind.layer(g, x, frames, layer, places)
        return ctc_outputs(g, g.layer_norm(x, "encoder.out_norm", kind.eps, bias=False), frames, "ctc_head")

    def features(self, processor: Any, waveforms: Sequence[NDArray[np.float32]]) -> Features:
        """Log-mel features; see `spectra`."""
        return spectra(processor, waveforms)

    def bounds(self, config: Mapping[str, Any]) -> Bounds:
        """From the spectra that one frame looks at; the first linear layer sees every one of them."""
        stride, spectra_a_second = config["subsampling_conv_stride"], RATE / HOP
        seen = receptive_field([(config["subsampling_conv_kernel_size"], stride)] * len(CONVOLUTIONS))
        frames = spectra_a_second / stride ** len(CONVOLUTIONS)
        return attention_bounds(WINDOW + (seen - 1) * HOP, config, frames, config["hidden_size"] * spectra_a_second)


def _prepared(
    kind: Conformer, weights: dict[str, Tensor], layers: list[str], config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Also: the head as a matrix, and the frequencies of the positions."""
    prepared = kind.prepared(weights, layers)
    if "ctc_head.weight" in prepared:
        prepared["ctc_head.weight"] = prepared["ctc_head.weight"].squeeze(2)
    size = kind.width // kind.heads
    frequencies = 1.0 / config["rope_parameters"]["rope_theta"] ** (torch.arange(0, size, 2).float() / size)
    prepared[f"{OWN}.frequencies"] = frequencies.repeat(2)
    return prepared
