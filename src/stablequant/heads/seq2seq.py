"""Encoder and decoder: greedy search with a key-value cache over whatever runs the two graphs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stablequant.heads.alignment import between, warped
from stablequant.heads.decoder import DecoderSpec, forced, take_rows
from stablequant.heads.greedy import Generated, greedy
from stablequant.heads.head import Answer, Hints, Logits
from stablequant.heads.loops import loops
from stablequant.heads.requests import Requests, refuse_times, refuse_translation
from stablequant.heads.timestamps import Timestamps
from stablequant.network.backend import Backend

#: An id that no decoder chooses.
NEVER = -1
#: Scripts other than Latin take more tokens a second, since tokenizers know few of their words: a character may take two.
SHORT_TOKENS = 2.5
#: Positions of a decoder that computes them, and so has one for any token.
UNBOUNDED = 1_000_000


@dataclass(frozen=True)
class Seq2SeqHead:
    """Greedy search; all outputs of the graph "encoder" are inputs of the graph "decoder" at every step.

    Attributes:
        tokenizer: As transformers loads it; writes ids as text.
        decoder: Its constants.
        sampling_rate: Of the audio, in hertz.
        tokens_a_second: A decoder may loop on noise, so its output is bounded by the audio: tokens a second,
        tokens_at_least: and a few more for very short recordings.
        positions: Tokens that a decoder with learned positions has room for, the prompt's included.
        requests: What its prompt can ask for; ``None``: nothing.
    """

    tokenizer: Any
    decoder: DecoderSpec
    sampling_rate: int
    tokens_a_second: float
    tokens_at_least: int
    positions: int = UNBOUNDED
    requests: Requests | None = None
    graphs: tuple[str, ...] = ("encoder", "decoder")
    #: A decoder's tokens write any text.
    alphabet: Collection[str] | None = None

    def read(
        self, backend: Backend, outputs: dict[str, Any], sizes: NDArray[np.int64], hints: Hints | None = None
    ) -> list[Answer]:
        """Transcripts; see `Head.read`."""
        limits = [self.most_steps(int(n)) for n in sizes]
        found = greedy(backend, outputs, limits, self.decoder, hints)
        answers = [self._answer(g, int(n)) for g, n in zip(found, sizes, strict=True)]
        # The bound is meant for loops on noise. Text of short tokens may reach it by being spoken.
        short = [i for i, a in enumerate(answers) if a.truncated and not _mostly_latin(a.text)]
        if short:
            rows = take_rows(backend, outputs, short, len(answers))
            more = [min(int(SHORT_TOKENS * limits[i]), self._room()) for i in short]
            again = greedy(backend, rows, more, self.decoder)
            for i, generated in zip(short, again, strict=True):
                answers[i] = self._answer(generated, int(sizes[i]))
        return answers

    def logits(self, backend: Backend, outputs: dict[str, Any], answers: Sequence[Answer]) -> Logits:
        """Logits of each token of the answers and of the one after, also of tokens that may not be chosen; see `Head.logits`."""
        out = forced(backend, outputs, [a.tokens for a in answers], self.decoder)
        rows = zip(backend.get(out["logits"]), answers, strict=True)
        return [np.asarray(row[: 1 + len(answer.tokens)]) for row, answer in rows]

    def text(self, tokens: Sequence[int]) -> str:
        """In words; see `Head.text`."""
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text.strip()

    def heard(
        self, backend: Backend, outputs: dict[str, Any], answer: Answer, attention: NDArray[np.floating] | None
    ) -> NDArray[np.float64]:
        """By dynamic time warping of cross-attention; see `Head.heard`."""
        assert attention is not None
        first, last = warped(attention)
        return between(first, last, attention.shape[1])

    def steps(self, answers: Sequence[Answer]) -> list[int]:
        """One a token, and one for the end where the limit did not cut it off."""
        return [len(a.tokens) + (not a.truncated) for a in answers]

    def run_for(self, backend: Backend, outputs: dict[str, Any], steps: Sequence[int]) -> None:
        """Generate so many tokens, with an end that never comes."""
        greedy(backend, outputs, steps, replace(self.decoder, end=NEVER))

    def most_steps(self, samples: int) -> int:
        """In proportion to the audio, and never more than the decoder has room for."""
        by_length = int(samples / self.sampling_rate * self.tokens_a_second) + self.tokens_at_least
        return min(by_length + len(self.decoder.opening), self._room())

    def asked(self, language: str | None, *, translate: bool) -> Self:
        """With a prompt that says so; see `Head.asked`."""
        if self.requests is None:
            refuse_translation(translate=translate)
            return self
        return replace(self, decoder=self.requests.put_to(self.decoder, language, translate=translate))

    def timed(self) -> Self:
        """With a prompt that asks for timestamps; see `Head.timed`."""
        if self.requests is None:
            refuse_times()
        return replace(self, decoder=self.requests.with_times(self.decoder))

    def constants(self) -> dict[str, Any]:
        """See `Head.constants`."""
        return {
            "decoder": asdict(self.decoder),
            "sampling_rate": self.sampling_rate,
            "tokens_a_second": self.tokens_a_second,
            "tokens_at_least": self.tokens_at_least,
            "positions": self.positions,
        }

    @classmethod
    def from_constants(cls, constants: Mapping[str, Any]) -> Seq2SeqHead:
        """See `Head.from_constants`."""
        decoder = {name: _in_tuples(value) for name, value in constants["decoder"].items()}
        if decoder["timestamps"]:
            decoder["timestamps"] = Timestamps(**decoder["timestamps"])
        return cls(None, **{**constants, "decoder": DecoderSpec(**decoder)})

    def _room(self) -> int:
        return self.positions - len(self.decoder.prompt)

    def _answer(self, generated: Generated, samples: int) -> Answer:
        tokens, times = generated.tokens, self.decoder.timestamps
        looping = loops(tokens)
        if times is None:
            return Answer(self.text(tokens), tokens, generated.truncated, looping)
        text = self.text([token for token in tokens if token < times.zero])
        segments = times.segments(tokens, samples / self.sampling_rate, self.text)
        return Answer(text, tokens, generated.truncated, looping, segments)


def _in_tuples(value: Any) -> Any:
    """Lists, as JSON makes them of tuples, as tuples again."""
    return tuple(map(_in_tuples, value)) if isinstance(value, list | tuple) else value


def _mostly_latin(text: str) -> bool:
    """Whether at least half of the letters are Latin; a text without letters counts as such."""
    letters = [c for c in text if c.isalpha()]
    return 2 * sum(c < "\N{LATIN SMALL LETTER TURNED A}" for c in letters) >= len(letters)
