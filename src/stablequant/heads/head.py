"""What a head is: it reads the outputs of a model's first graph, running later ones where it needs them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from stablequant.heads.timestamps import Segment
from stablequant.network.backend import Backend

Logits = list[NDArray[np.float32]]
#: Token ids likely to come out, one sequence an utterance.
Hints = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Answer:
    """What a model says about one utterance.

    Attributes:
        text: In words: a transcript, a label.
        tokens: The ids it was made from.
        truncated: Whether the length limit cut it off (a runaway decoder).
        looping: Whether a decoder said one phrase over and over, see `loops`.
        segments: With their times, where the head was asked for them (`Head.timed`).
    """

    text: str
    tokens: tuple[int, ...]
    truncated: bool = False
    looping: bool = False
    segments: tuple[Segment, ...] = ()


def joined(answers: Sequence[Answer]) -> Answer:
    """One answer of those to a recording's pieces, in their order."""
    if len(answers) == 1:
        return answers[0]
    tokens = tuple(token for a in answers for token in a.tokens)
    text = " ".join(a.text for a in answers if a.text)
    return Answer(text, tokens, any(a.truncated for a in answers), any(a.looping for a in answers))


class Head(Protocol):
    """Turns outputs into answers, and into the logits behind them."""

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of the model's graphs in the order in which they run; the head is given the outputs of the first."""

    @property
    def alphabet(self) -> Collection[str] | None:
        """The tokens that answers are written with, where a text may be impossible to write; ``None`` where none is."""

    def read(
        self, backend: Backend, outputs: dict[str, Any], sizes: NDArray[np.int64], hints: Hints | None = None
    ) -> list[Answer]:
        """Answers, one an utterance.

        Args:
            backend: Runs the later graphs, where there are any.
            outputs: Of the first graph, for B utterances.
            sizes: Samples of each utterance ``[B]``.
            hints: Guesses of the answers' tokens. They change the cost alone, see `heads.drafts`.
        """

    def logits(self, backend: Backend, outputs: dict[str, Any], answers: Sequence[Answer]) -> Logits:
        """Logits ``[steps, V]`` of each utterance, its valid steps alone; a decoder is given the answers' tokens."""

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens of an answer say."""

    def heard(
        self, backend: Backend, outputs: dict[str, Any], answer: Answer, attention: NDArray[np.floating] | None
    ) -> NDArray[np.float64]:
        """Where in its recording each token of an answer was heard: ends of their spans ``[tokens + 1]``, from 0 to 1, ascending.

        A span ends halfway to the next token: frames that say none belong to the nearest.

        Args:
            backend: Ran the first graph.
            outputs: Of that graph, for this utterance alone.
            answer: With one token or more.
            attention: Of a decoder's steps to the encoder's frames ``[tokens, frames]``; a head without a decoder needs none.
        """

    def steps(self, answers: Sequence[Answer]) -> list[int]:
        """Steps that a decoder takes to say each answer, the end included; 0 without a decoder."""

    def run_for(self, backend: Backend, outputs: dict[str, Any], steps: Sequence[int]) -> None:
        """Do the work of `read` with exactly so many decoder steps an utterance, whatever the decoder says."""

    def most_steps(self, samples: int) -> int:
        """Decoder steps that an utterance of so many samples is allowed; 0 without a decoder."""

    def asked(self, language: str | None, *, translate: bool) -> Self:
        """The same head for speech in ``language`` and, with ``translate``, for answers in English.

        A model that is not told by its prompt what it hears takes any language: its own.

        Args:
            language: Code of the speech's language; ``None``: not known.
            translate: Whether answers are to be translations.

        Raises:
            SettingsError: The model cannot be asked for that.
        """

    def timed(self) -> Self:
        """The same head for answers with the times of their segments; after `asked`.

        Raises:
            SettingsError: The model does not tell times.
        """

    def constants(self) -> dict[str, Any]:
        """All but the tokenizer, as JSON holds it: enough to run the head in another process."""

    @classmethod
    def from_constants(cls, constants: Mapping[str, Any]) -> Self:
        """A head without a tokenizer from `constants`."""
