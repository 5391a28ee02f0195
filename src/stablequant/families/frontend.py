"""The two ends of a recogniser: from waveforms to model inputs, and from token ids to text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.heads.greedy import Backend, Generated, GreedySettings, ctc_ids, greedy

#: Moonshine loops on noise unless its output is bounded by the audio: tokens a second, and a few for very short clips.
TOKENS_A_SECOND, TOKENS_AT_LEAST = 10.0, 5


@dataclass(frozen=True)
class Transcript:
    """Text of one utterance, its token ids, and whether the length limit cut it off (a runaway decoder)."""

    text: str
    tokens: tuple[int, ...]
    truncated: bool = False


@dataclass(frozen=True)
class Frontend:
    """Processor and configuration of a model, without its weights.

    Attributes:
        shape: "ctc" (one graph, "model") or "seq2seq" (two, "encoder" and "decoder").
        config: The model's config.json.
        processor: Feature extractor and tokenizer, as transformers loads them.
        shortest: Samples that one frame takes: shorter audio gives the model nothing to look at.
    """

    shape: str
    config: Mapping[str, Any]
    processor: Any
    shortest: int = 1

    @property
    def sampling_rate(self) -> int:
        """Hertz expected of the audio."""
        return int(self.processor.feature_extractor.sampling_rate)

    @property
    def greedy(self) -> GreedySettings:
        """Constants of the decoder of a seq2seq model."""
        c = self.config
        heads = int(c["decoder_num_attention_heads"])
        head_size = int(c.get("head_dim") or c["hidden_size"] // heads)
        return GreedySettings(
            c["decoder_start_token_id"], c["eos_token_id"], c["decoder_num_hidden_layers"], heads, head_size
        )

    def features(self, waveforms: Sequence[NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """Model inputs of a batch, each utterance prepared alone so that company cannot change it.

        Args:
            waveforms: Mono float32 ``[T]`` at ``sampling_rate``.

        Returns:
            ``input_values`` float32 ``[B, T]`` padded with zeros, ``input_lengths`` int64 ``[B]``.
        """
        extract, rate = self.processor.feature_extractor, self.sampling_rate
        single = [np.asarray(extract(w, sampling_rate=rate)["input_values"][0], np.float32) for w in waveforms]
        lengths = np.array([len(w) for w in single], np.int64)
        values = np.zeros((len(single), int(lengths.max())), np.float32)
        for row, w in zip(values, single, strict=True):
            row[: len(w)] = w
        return {"input_values": values, "input_lengths": lengths}

    def recognize(
        self,
        backend: Backend,
        waveforms: Sequence[NDArray[np.float32]],
        drafts: Sequence[Sequence[int]] | None = None,
    ) -> list[Transcript]:
        """Transcribe a batch on ``backend``."""
        features = self.features(waveforms)
        first = "model" if self.shape == "ctc" else "encoder"
        outputs = backend.run(first, {name: backend.put(value) for name, value in features.items()})
        return self.read_out(backend, outputs, features["input_lengths"], drafts)

    def read_out(
        self,
        backend: Backend,
        outputs: Mapping[str, Any],
        samples: NDArray[np.int64],
        drafts: Sequence[Sequence[int]] | None = None,
    ) -> list[Transcript]:
        """Transcripts from the outputs of the first graph.

        Args:
            backend: Runs the decoder, where there is one.
            outputs: Outputs of the graph "model" or "encoder".
            samples: Valid samples ``[B]`` of the audio.
            drafts: Guesses of the token ids; they change the cost alone (see ``decode.greedy``).
        """
        if self.shape == "ctc":
            frames = backend.get(outputs["frames"])
            ids = ctc_ids(backend.get(outputs["logits"]), frames, int(self.config["pad_token_id"]))
            return [Transcript(self._ctc_text(tokens), tokens) for tokens in ids]
        encoded = {k: v for k, v in outputs.items() if k.startswith(("cross_", "encoder_lengths"))}
        limits = [int(n / self.sampling_rate * TOKENS_A_SECOND) + TOKENS_AT_LEAST for n in samples]
        return [self._generated(g) for g in greedy(backend, encoded, limits, self.greedy, drafts)]

    def _ctc_text(self, tokens: tuple[int, ...]) -> str:
        # Repeats are merged already; merging again would swallow true double letters.
        text: str = self.processor.tokenizer.decode(tokens, group_tokens=False, skip_special_tokens=False)
        return text.strip()

    def _generated(self, generated: Generated) -> Transcript:
        text = self.processor.tokenizer.decode(list(generated.tokens), skip_special_tokens=True).strip()
        return Transcript(text, generated.tokens, generated.truncated)
