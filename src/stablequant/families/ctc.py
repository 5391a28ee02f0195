"""What families with a CTC head on a waveform have in common: the two ends of the graph, the head, and the bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.families.family import Bounds, Features, raw_waveforms
from stablequant.heads.ctc import CtcHead
from stablequant.heads.vocabulary import check_vocabulary
from stablequant.network.graph import Graph, check_weights, receptive_field


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
        """From the receptive field of the convolutions."""
        return Bounds(receptive_field(zip(config["conv_kernel"], config["conv_stride"], strict=True)))


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
