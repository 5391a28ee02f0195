"""What training makes small: the divergence from the float model, which needs no labels, or the error on the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from stablequant.data.utterance import Utterance
from stablequant.errors import DataError, ModelError
from stablequant.families.family import Features
from stablequant.families.model import SpeechModel
from stablequant.heads.ctc import CtcHead
from stablequant.heads.head import Answer
from stablequant.heads.seq2seq import Seq2SeqHead
from stablequant.quantize.simulate import Simulator


class Loss(Protocol):
    """Compares what a model gives out with what it should."""

    @property
    def name(self) -> str:
        """Of the loss, and the unit that it is divided by."""

    def wanted(self, utterances: Sequence[Utterance], features: Features) -> tuple[Sequence[Answer], Any]:
        """What a decoder is given on a batch, and what the logits are compared with."""

    def __call__(self, logits: Sequence[Tensor], wanted: Any) -> tuple[Tensor, int]:
        """The loss of a batch in nats, and over how many units it is summed.

        Args:
            logits: ``[steps, V]`` of each utterance.
            wanted: Second part of what `wanted` gave.
        """


class _Taught:
    """Knows what the float model says, which it is asked for once an utterance."""

    def __init__(self, model: SpeechModel) -> None:
        self._frontend, self._plain = model.frontend, Simulator(model).backend({})
        self._answers: dict[str, Answer] = {}

    def _said(self, utterances: Sequence[Utterance], features: Features) -> tuple[dict[str, Any], list[Answer]]:
        """Outputs of the float model's first graph, and its answers."""
        outputs = self._frontend.encode(self._plain, features)
        if any(u.id not in self._answers for u in utterances):
            answers = self._frontend.head.read(self._plain, outputs, features.sizes)
            self._answers.update(zip((u.id for u in utterances), answers, strict=True))
        return outputs, [self._answers[u.id] for u in utterances]


class Distillation(_Taught):
    """KL divergence from the float model, a token or a frame (Hinton, Vinyals and Dean 2015, arXiv 1503.02531, at temperature 1).

    ``sum_v p(v) (log p(v) - log q(v))`` with p the float model's, which a decoder is given the text of: what `tasks.fidelity`
    measures.
    """

    name = "divergence from float, a step"

    def wanted(self, utterances: Sequence[Utterance], features: Features) -> tuple[Sequence[Answer], Any]:
        """The float model's answers and its logits."""
        outputs, answers = self._said(utterances, features)
        found = self._frontend.head.logits(self._plain, outputs, answers)
        return answers, [torch.from_numpy(row) for row in found]

    def __call__(self, logits: Sequence[Tensor], wanted: Any) -> tuple[Tensor, int]:
        """See `Loss`."""
        found, float_ = torch.cat(list(logits)).log_softmax(-1), torch.cat(wanted).to(logits[0]).log_softmax(-1)
        return functional.kl_div(found, float_, reduction="sum", log_target=True), len(found)


class CtcLabels:
    """Connectionist temporal classification of the text, a token (Graves et al. 2006)."""

    name = "CTC loss, a token"

    def __init__(self, head: CtcHead) -> None:
        """Write text as the tokens of ``head``."""
        self._head = head

    def wanted(self, utterances: Sequence[Utterance], features: Features) -> tuple[Sequence[Answer], Any]:
        """Nothing is given to a decoder; the text's tokens."""
        return [Answer("", ())] * len(utterances), [
            torch.tensor(self._tokens(u), dtype=torch.int64) for u in utterances
        ]

    def __call__(self, logits: Sequence[Tensor], wanted: Any) -> tuple[Tensor, int]:
        """See `Loss`. An utterance with more tokens than frames counts for nothing."""
        steps, lengths = (torch.tensor([len(row) for row in rows]) for rows in (logits, wanted))
        found = pad_sequence(list(logits)).log_softmax(-1)
        nats = functional.ctc_loss(
            found, torch.cat(wanted), steps, lengths, self._head.blank, reduction="sum", zero_infinity=True
        )
        return nats, int(lengths.sum())

    def _tokens(self, utterance: Utterance) -> list[int]:
        """In the case that the tokenizer knows; what it has no token for, such as punctuation, is left out."""
        text, tokenizer = _text(utterance), self._head.tokenizer
        written = [_ids(tokenizer, form) for form in (text, text.upper(), text.lower())]
        unknown = tokenizer.unk_token_id
        return [i for i in min(written, key=lambda ids: ids.count(unknown)) if i != unknown]


class TextLabels(_Taught):
    """Cross-entropy of the text's tokens and of the end, a token, the decoder given those before."""

    name = "cross-entropy, a token"

    def wanted(self, utterances: Sequence[Utterance], features: Features) -> tuple[Sequence[Answer], Any]:
        """The text as answers; what comes before it, such as the language, is what the float model says."""
        head = self._frontend.head
        assert isinstance(head, Seq2SeqHead)
        answers = []
        for utterance, said in zip(utterances, self._said(utterances, features)[1], strict=True):
            opening = said.tokens[: len(head.decoder.opening)]
            text, own = _text(utterance), _ids(head.tokenizer, said.text)
            # A tokenizer that writes words with the space before them is given one.
            lead = "" if tuple(own) == said.tokens[len(opening) :] else " "
            answers.append(Answer(text, (*opening, *_ids(head.tokenizer, lead + text))))
        return answers, torch.tensor([t for a in answers for t in (*a.tokens, head.decoder.end)])

    def __call__(self, logits: Sequence[Tensor], wanted: Any) -> tuple[Tensor, int]:
        """See `Loss`."""
        found = torch.cat(list(logits))
        return functional.cross_entropy(found, wanted, reduction="sum"), len(found)


def loss_of(model: SpeechModel, *, labels: bool) -> Loss:
    """The loss of a float ``model``, from text where there are ``labels``.

    Raises:
        ModelError: It has no loss from text.
    """
    head = model.frontend.head
    if not labels:
        return Distillation(model)
    if isinstance(head, CtcHead):
        return CtcLabels(head)
    if isinstance(head, Seq2SeqHead):
        return TextLabels(model)
    what = f"there is no loss from text for the head {type(head).__name__}"
    raise ModelError(what, expected="a model with a CTC head or a decoder", fix="leave --labels out")


def _text(utterance: Utterance) -> str:
    if utterance.text is None:
        what = f"{utterance.name} has no text, which training with labels needs"
        raise DataError(what, expected="a text for every recording", fix="leave --labels out")
    return utterance.text


def _ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return found
