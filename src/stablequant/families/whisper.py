"""Whisper: a log-mel encoder over a window of fixed length, and a decoder that its prompt tells what to write.

Every recording is padded to the window (30 s) with silence, and attention sees all of it, as in training (Radford et al. 2022,
arXiv:2212.04356, section 2.1). The keys and values of cross-attention leave the encoder graph, as Moonshine's do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stablequant.errors import AudioError, ModelError, memory_ran_out
from stablequant.families import encoder_decoder as parts
from stablequant.families.family import Bounds, Features, family
from stablequant.heads.decoder import DecoderSpec
from stablequant.heads.seq2seq import Seq2SeqHead
from stablequant.heads.vocabulary import check_vocabulary
from stablequant.network.graph import Graph, check_weights

#: Whisper too may loop on noise, so its output is bounded by the audio; English speech takes 2 to 4 tokens a second.
TOKENS_A_SECOND, TOKENS_AT_LEAST = 10.0, 10
#: Spectrogram frames a second, and the stride of the second convolution: config.json tells the encoder's frames alone.
MEL_FRAMES_A_SECOND, STRIDE = 100, 2
#: Where the window is shortened: seconds of silence that follow the longest recording, and what lengths are a multiple of, so
#: that few shapes occur. The last positions stay the window's last: by them the decoder knows the end (docs/results/whisper.md).
SILENCE, STEP, LAST = 2.0, 0.5, 25
#: Which of attention's projections have a bias; keys have none.
BIAS = {"key": False, "value": True}


@family
class Whisper:
    """``WhisperForConditionalGeneration``, every size, for English alone or for many languages."""

    architectures = ("WhisperForConditionalGeneration",)

    def build(self, config: Mapping[str, Any], weights: dict[str, Tensor]) -> tuple[Graph, Graph]:
        """Encoder and decoder graphs.

        Encoder: ``input_features`` [B, mel frames, mel bins] -> for each decoder layer ``cross_key_i``, ``cross_value_i``
        [B, H, frames, d].
        Decoder: ``input_ids`` [B, tokens], the cross keys and values, ``past_key_i``, ``past_value_i`` [B, H, past, d] ->
        ``logits`` [B, tokens, V], ``key_i``, ``value_i`` [B, H, past + tokens, d].

        Raises:
            ModelError: The checkpoint lacks weights; names each.
        """
        graphs = _encoder(config, weights), _decoder(config, weights)
        check_weights(*graphs)
        return graphs

    def head(self, config: Mapping[str, Any], processor: Any) -> Seq2SeqHead:
        """Greedy search; see `Family.head`."""
        check_vocabulary(processor.tokenizer, int(config["vocab_size"]), padded=True)
        extractor = processor.feature_extractor
        _check_extractor(extractor, config)
        plain = DecoderSpec(
            prompt=(config["decoder_start_token_id"],),
            end=config["eos_token_id"],
            cache=parts.cache_of(config["decoder_layers"]),
            heads=int(config["decoder_attention_heads"]),
            head_size=config["d_model"] // config["decoder_attention_heads"],
            suppressed=config["suppress_tokens"],
            suppressed_first=config["begin_suppress_tokens"],
        )
        requests = config["requests"]
        return Seq2SeqHead(
            processor.tokenizer,
            requests.put_to(plain, None, translate=False),
            int(extractor.sampling_rate),
            TOKENS_A_SECOND,
            TOKENS_AT_LEAST,
            positions=config["max_target_positions"],
            requests=requests,
        )

    def features(self, processor: Any, waveforms: Sequence[NDArray[np.float32]]) -> Features:
        """Log-mel spectrograms ``[B, mel frames, mel bins]`` of the waveforms, padded with silence to the window.

        Raises:
            AudioError: A waveform is longer than the window: its end would be lost.
        """
        return _log_mel(processor.feature_extractor, waveforms, processor.feature_extractor.n_samples)

    def shortened(self, processor: Any, waveforms: Sequence[NDArray[np.float32]]) -> Features:
        """The same, padded with ``SILENCE`` behind the longest, and to a multiple of ``STEP``; see `Windowed.shortened`."""
        extract = processor.feature_extractor
        step = int(STEP * extract.sampling_rate)
        steps = math.ceil((max(map(len, waveforms)) + SILENCE * extract.sampling_rate) / step)
        return _log_mel(extract, waveforms, min(steps * step, extract.n_samples))

    def bounds(self, config: Mapping[str, Any]) -> Bounds:
        """The window."""
        window = _window(config)
        return Bounds(longest=window, window=window, padded=window)


def _log_mel(extract: Any, waveforms: Sequence[NDArray[np.float32]], samples: int) -> Features:
    """Spectrograms ``[B, mel frames, mel bins]`` of waveforms padded to ``samples``."""
    longest, rate = max(map(len, waveforms)), extract.sampling_rate
    if longest > extract.n_samples:
        what = f"a recording has {longest / rate:.1f} s"
        expected = f"at most {extract.n_samples / rate:g} s, the window that Whisper hears"
        raise AudioError(what, expected=expected, fix="cut it first; stablequant transcribe does")
    found = [extract(w, sampling_rate=rate, max_length=samples)["input_features"][0] for w in waveforms]
    mel = np.stack([np.asarray(f, np.float32).T for f in found])
    return Features({"input_features": mel}, np.array([len(w) for w in waveforms], np.int64))


def _window(config: Mapping[str, Any]) -> float:
    """Seconds."""
    return float(STRIDE * config["max_source_positions"] / MEL_FRAMES_A_SECOND)


def _check_extractor(extractor: Any, config: Mapping[str, Any]) -> None:
    """Raise ModelError unless a feature extractor makes of silence what the encoder takes."""
    frames = STRIDE * config["max_source_positions"]
    fix = "copy preprocessor_config.json and config.json of this very model"
    found = extractor.nb_max_frames, extractor.n_samples
    if found != (frames, _window(config) * extractor.sampling_rate):
        what = f"the feature extractor makes {found[0]} frames of {found[1]} samples"
        raise ModelError(what, expected=f"{frames} frames of {_window(config):g} s, by max_source_positions", fix=fix)
    try:
        silence = extractor(np.zeros(1, np.float32), sampling_rate=extractor.sampling_rate)["input_features"]
        shape = np.asarray(silence, np.float32).shape
    except Exception as error:  # transformers checks none of its settings, so it may fail in any way
        if memory_ran_out(error):
            raise
        what = f"the feature extractor fails on silence ({type(error).__name__}: {str(error)[:100]})"
        raise ModelError(what, fix=fix) from error
    if shape != (1, config["num_mel_bins"], frames):
        what = f"the feature extractor makes an array of {list(shape)}"
        raise ModelError(what, expected=str([1, config["num_mel_bins"], frames]), fix=fix)


def _encoder(config: Mapping[str, Any], weights: dict[str, Tensor]) -> Graph:
    g = Graph("encoder", weights)
    frames, heads = int(config["max_source_positions"]), int(config["encoder_attention_heads"])
    g.fixed = {"mel frames": STRIDE * frames, "frames": frames}
    x = g.input("input_features", "float32", ("batch", "mel frames", int(config["num_mel_bins"])))
    for name, stride in (("conv1", 1), ("conv2", STRIDE)):
        x = g.conv1d(x, f"model.encoder.{name}", stride=stride, padding=1)
        x = g.add("activation", x, function="gelu")
    x = g.add("add", x, g.add("positions", x, weights={"table": "model.encoder.embed_positions.weight"}, last=LAST))
    for i in range(config["encoder_layers"]):
        layer = f"model.encoder.layers.{i}"
        h = g.layer_norm(x, f"{layer}.self_attn_layer_norm")
        q, k, v = _projections(g, h, f"{layer}.self_attn", heads)
        x = g.add("add", x, _attend(g, q, k, v, f"{layer}.self_attn", config["d_model"] // heads))
        x = _feed_forward(g, x, layer, config)
    x = g.layer_norm(x, "model.encoder.layer_norm")
    heads = int(config["decoder_attention_heads"])
    parts.give_out_cross(g, x, config["decoder_layers"], heads, config["d_model"] // heads, "frames", bias=BIAS)
    return g


def _decoder(config: Mapping[str, Any], weights: dict[str, Tensor]) -> Graph:
    g = Graph("decoder", weights)
    layers, heads = int(config["decoder_layers"]), int(config["decoder_attention_heads"])
    head_size = config["d_model"] // heads
    ids = g.input("input_ids", "int64", ("batch", "tokens"))
    g.fixed = {"frames": int(config["max_source_positions"])}
    cross = parts.attention_inputs(g, "cross", layers, heads, "frames", head_size)
    past = parts.attention_inputs(g, "past", layers, heads, "past", head_size)

    x = parts.embedded(g, ids)
    positions = g.add("positions", x, past[0][0], weights={"table": "model.decoder.embed_positions.weight"})
    x = g.add("add", x, positions)
    for i in range(layers):
        layer = f"model.decoder.layers.{i}"
        h = g.layer_norm(x, f"{layer}.self_attn_layer_norm")
        q, *new = _projections(g, h, f"{layer}.self_attn", heads)
        k, v = parts.remembered(g, past[i], new, i, heads, head_size)
        x = g.add("add", x, _attend(g, q, k, v, f"{layer}.self_attn", head_size, causal=True))
        h = g.layer_norm(x, f"{layer}.encoder_attn_layer_norm")
        q = parts.projected(g, h, f"{layer}.encoder_attn.q_proj", heads)
        k, v = cross[i]
        x = g.add("add", x, _attend(g, q, k, v, f"{layer}.encoder_attn", head_size))
        x = _feed_forward(g, x, layer, config)
    parts.give_out_logits(g, g.layer_norm(x, "model.decoder.layer_norm"))
    return g


def _projections(g: Graph, x: str, name: str, heads: int) -> list[str]:
    return [parts.projected(g, x, f"{name}.{p}_proj", heads, bias=p != "k") for p in "qkv"]


def _attend(g: Graph, q: str, k: str, v: str, name: str, head_size: int, *, causal: bool = False) -> str:
    return g.linear(parts.attend(g, q, k, v, name, head_size=head_size, causal=causal), f"{name}.out_proj")


def _feed_forward(g: Graph, x: str, layer: str, config: Mapping[str, Any]) -> str:
    h = g.layer_norm(x, f"{layer}.final_layer_norm")
    return g.add("add", x, parts.feed_forward(g, h, f"{layer}.fc1", f"{layer}.fc2", config["activation_function"]))
