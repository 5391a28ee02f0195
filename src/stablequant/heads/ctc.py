"""Connectionist temporal classification: one token or a blank a frame, all in one graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stablequant.heads.alignment import between, spikes
from stablequant.heads.head import Answer, Hints, Logits
from stablequant.heads.requests import refuse_times, refuse_translation
from stablequant.network.backend import Backend


@dataclass(frozen=True)
class CtcHead:
    """Best path through the graph "model", whose outputs are ``logits`` ``[B, T, V]`` and ``frames`` ``[B]``.

    Attributes:
        tokenizer: As transformers loads it; writes ids as text.
        blank: Id of the CTC blank.
        alphabet: The tokens that a transcript is written with.
    """

    tokenizer: Any
    blank: int
    alphabet: Collection[str] | None = None
    graphs: tuple[str, ...] = ("model",)

    def read(
        self, backend: Backend, outputs: dict[str, Any], sizes: NDArray[np.int64], hints: Hints | None = None
    ) -> list[Answer]:
        """Transcripts; see `Head.read`. Hints are of no use here."""
        ids = best_path(backend.get(outputs["logits"]), backend.get(outputs["frames"]), self.blank)
        return [Answer(self.text(tokens), tokens) for tokens in ids]

    def logits(self, backend: Backend, outputs: dict[str, Any], answers: Sequence[Answer]) -> Logits:
        """Logits of the valid frames; see `Head.logits`."""
        rows = zip(backend.get(outputs["logits"]), backend.get(outputs["frames"]).tolist(), strict=True)
        return [np.asarray(row[:count]) for row, count in rows]

    def text(self, tokens: Sequence[int]) -> str:
        """In words; see `Head.text`. Repeats are merged already; merging again would swallow true double letters."""
        text: str = self.tokenizer.decode(tokens, group_tokens=False, skip_special_tokens=False)
        return text.strip()

    def heard(
        self, backend: Backend, outputs: dict[str, Any], answer: Answer, attention: NDArray[np.floating] | None
    ) -> NDArray[np.float64]:
        """By the best path's frames of each token; see `Head.heard`."""
        count = int(backend.get(outputs["frames"])[0])
        return between(*spikes(backend.get(outputs["logits"])[0, :count].argmax(-1), self.blank), count)

    def steps(self, answers: Sequence[Answer]) -> list[int]:
        """None: there is no decoder."""
        return [0] * len(answers)

    def run_for(self, backend: Backend, outputs: dict[str, Any], steps: Sequence[int]) -> None:
        """Find the best path: the work is always the same."""
        best_path(backend.get(outputs["logits"]), backend.get(outputs["frames"]), self.blank)

    def most_steps(self, samples: int) -> int:
        """None: there is no decoder."""
        return 0

    def asked(self, language: str | None, *, translate: bool) -> Self:
        """As it is; see `Head.asked`."""
        refuse_translation(translate=translate)
        return self

    def timed(self) -> Self:
        """Refused; see `Head.timed`."""
        refuse_times()

    def constants(self) -> dict[str, Any]:
        """See `Head.constants`."""
        return {"blank": self.blank}

    @classmethod
    def from_constants(cls, constants: Mapping[str, Any]) -> CtcHead:
        """See `Head.from_constants`."""
        return cls(None, constants["blank"])


def best_path(logits: NDArray[Any], frames: NDArray[np.int64], blank: int) -> list[tuple[int, ...]]:
    """The likeliest id of each valid frame, repeats merged, blanks dropped.

    Args:
        logits: ``[B, T, V]``.
        frames: Valid frames ``[B]``.
        blank: Id of the CTC blank.
    """
    result = []
    for ids, count in zip(logits.argmax(-1), frames, strict=True):
        valid = ids[:count]
        first = np.ones(len(valid), bool)
        first[1:] = valid[1:] != valid[:-1]
        result.append(tuple(int(i) for i in valid[first] if i != blank))
    return result
