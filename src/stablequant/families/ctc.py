"""What families with a CTC head have in common: the two ends of the graph, features, the head, and the bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.families.family import Bounds, Features, raw_waveforms
from stablequant.heads.ctc import CtcHead
from stablequant.heads.vocabulary import check_vocabulary
from stablequant.network.graph import Graph, check_weights, receptive_field

#: Hertz of all published models.
RATE = 16000
#: Float32 copies, at a time, of an activation and of attention's scores.
COPIES, SCORE_COPIES = 4, 6


class CtcFamily:
    """A `Family` of waveforms in, CTC out, but for ``architectures`` and ``build``."""

    def head(self, config: Mapping[str, Any], processor: Any) -> CtcHead:
        """Best path; see `Family.head`."""
        tokenizer = processor.tokenizer
        check_vocabulary(tokenizer, int(config["vocab_size"]), padded=False)
        return CtcHead(tokenizer, int(config["pad_token_id"]), frozenset(tokenizer.get_vocab()))

    def features(self, processor: Any, waveforms: Sequence[NDArray[np.float32]]) -> Features:
        """The waveform; see `raw_waveforms`."""
        return raw_waveforms(processor, waveforms)

    def bounds(self, config: Mapping[str, Any]) -> Bounds:
        """From the receptive field of the convolutions, and memory by their channels and by attention."""
        shortest = receptive_field(zip(config["conv_kernel"], config["conv_stride"], strict=True))
        rates = [RATE / math.prod(config["conv_stride"][: i + 1]) for i in range(len(config["conv_stride"]))]
        widest = max(channels * rate for channels, rate in zip(config["conv_dim"], rates, strict=True))
        return attention_bounds(shortest, config, rates[-1], widest)


def attention_bounds(shortest: int, config: Mapping[str, Any], frames: float, widest: float = 0.0) -> Bounds:
    """Bounds of a model whose memory is that of its attention and of its widest activation.

    Runtimes hold several float32 copies of both at a time: scores before and after the softmax, with their positions and
    mask, and what goes into a layer, comes out of it and is normalised. The numbers were measured (bench/long_audio.py) and
    are rather too large: a piece that is shorter than it could be costs nothing, one too long ends the run.

    Args:
        shortest: See `Bounds`.
        config: Its ``num_attention_heads`` and ``intermediate_size``.
        frames: That attention sees, a second.
        widest: Values a second of the widest activation before attention.
    """
    values = max(widest, config["intermediate_size"] * frames)
    scores = config["num_attention_heads"] * frames**2
    return Bounds(shortest, a_second=4 * COPIES * values, squared=4 * SCORE_COPIES * scores)


def waveform_inputs(g: Graph) -> tuple[str, str]:
    """Declare ``input_values`` [B, samples] and ``input_lengths`` [B]."""
    return g.input("input_values", "float32", ("batch", "samples")), g.input("input_lengths", "int64", ("batch",))


def ctc_outputs(g: Graph, x: str, frames: str, head: str = "lm_head") -> tuple[Graph]:
    """End a graph with the projection ``head``: ``logits`` [B, frames, V] and ``frames`` [B].

    Raises:
        ModelError: Weights that the graph names are missing; lists them.
    """
    g.output(g.linear(x, head, frames), "logits", ("batch", "frames", "vocabulary"))
    g.output(frames, "frames", ("batch",), dtype="int64")
    check_weights(g)
    return (g,)


def spectrum_inputs(g: Graph, channels: int) -> tuple[str, str]:
    """Declare ``input_features`` [B, frames, channels] and ``input_lengths`` [B]."""
    shape = ("batch", "spectra", channels)
    return g.input("input_features", "float32", shape), g.input("input_lengths", "int64", ("batch",))


def spectra(processor: Any, waveforms: Sequence[NDArray[np.float32]]) -> Features:
    """Features of models that are given a spectrogram: ``input_features`` [B, T, C], padded, ``input_lengths`` [B].

    Each is what the feature extractor makes of one waveform alone; frames that it marks as padding are left out.
    """
    extract = processor.feature_extractor
    single = []
    for waveform in waveforms:
        found = extract(waveform, sampling_rate=extract.sampling_rate, return_attention_mask=True, return_tensors="np")
        valid = int(np.asarray(found["attention_mask"][0]).sum())
        single.append(np.asarray(found["input_features"][0], np.float32)[:valid])
    lengths = np.array([len(features) for features in single], np.int64)
    values = np.zeros((len(single), int(lengths.max()), single[0].shape[1]), np.float32)
    for row, features in zip(values, single, strict=True):
        row[: len(features)] = features
    sizes = np.array([len(w) for w in waveforms], np.int64)
    return Features({"input_features": values, "input_lengths": lengths}, sizes)
