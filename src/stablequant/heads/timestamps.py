"""Timestamps that a decoder writes between its words: which tokens may be chosen among them, and the segments they enclose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Seconds from one timestamp token to the next (openai/whisper, ``tokenizer.py``).
STEP = 0.02


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording and what is said in it; times in seconds from the recording's start."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Timestamps:
    """The tokens that stand for times.

    Attributes:
        zero: Token of 0.00 s; all from there on are times, each ``STEP`` later. The one before it asks for text without times.
        latest_first: How many steps after 0.00 s the first may be; ``None``: any.
    """

    zero: int
    latest_first: int | None = None

    def choosable(self, scores: NDArray[np.float32], rows: Sequence[Sequence[int]], end: int) -> NDArray[np.float32]:
        """Logits ``[B, V]`` with minus infinity for each token that may not follow ``rows``.

        A text begins with a time; times come in pairs, one that ends a segment and one that begins the next, or alone before the
        end; they never go back; and a time is chosen wherever all times together are likelier than any one token of text. These
        are transformers' rules (``WhisperTimeStampLogitsProcessor``), and openai/whisper's.

        Args:
            scores: Of the next token.
            rows: The tokens so far, without prompt.
            end: The token that ends a text.
        """
        result = scores.astype(np.float32)
        result[:, self.zero - 1] = -np.inf
        for line, row in zip(result, rows, strict=True):
            times = [token for token in row if token >= self.zero]
            after_time = bool(row) and row[-1] >= self.zero
            paired = len(row) < 2 or row[-2] >= self.zero
            if not row:
                line[: self.zero] = -np.inf
                if self.latest_first is not None:
                    line[self.zero + self.latest_first + 1 :] = -np.inf
            elif after_time and paired:
                line[self.zero :] = -np.inf
            elif after_time:
                line[:end] = -np.inf
            if times:
                # The time that ended a segment may begin the next; no other is written twice.
                line[self.zero : times[-1] + (not (after_time and not paired))] = -np.inf
            text = line[: self.zero].max()
            if np.logaddexp.reduce(line[self.zero :].astype(np.float64)) > text:
                line[: self.zero] = -np.inf
        return result

    def segments(self, tokens: Sequence[int], seconds: float, write: Callable[[list[int]], str]) -> tuple[Segment, ...]:
        """The segments of an answer.

        Args:
            tokens: Of the answer.
            seconds: Of the recording: what was cut off lasts until its end.
            write: Makes text of tokens.
        """
        found: list[Segment] = []
        start, words = 0.0, list[int]()
        for token in tokens:
            if token < self.zero:
                words.append(token)
                continue
            time = round((token - self.zero) * STEP, 2)
            if words:
                found.append(Segment(start, time, write(words)))
                words = []
            start = time
        if words:
            found.append(Segment(start, max(start, round(seconds, 2)), write(words)))
        return tuple(segment for segment in found if segment.text)
