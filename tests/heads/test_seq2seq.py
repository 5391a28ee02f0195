"""An encoder-decoder head: logits are those of its own answers, and steps are as many as are asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import support

from stablequant.heads.head import Answer
from stablequant.heads.seq2seq import Seq2SeqHead
from stablequant.network.execute import TorchBackend
from stablequant.quantize.simulate import Simulator


def head() -> Seq2SeqHead:
    found = support.moonshine().frontend.head
    assert isinstance(found, Seq2SeqHead)
    return found


@cache
def encoded() -> tuple[TorchBackend, dict[str, Any], list[Answer]]:
    """A backend, what its encoder makes of a few recordings, and the answers."""
    frontend, backend = support.moonshine().frontend, Simulator(support.moonshine()).backend({})
    features = frontend.features(support.waveforms((*support.SHORT[:2], *support.CALIBRATION)))
    outputs = frontend.encode(backend, features)
    return backend, outputs, head().read(backend, outputs, features.sizes)


def test_logits_of_the_answers_choose_the_answers_and_then_the_end() -> None:
    backend, outputs, answers = encoded()
    rows = head().logits(backend, outputs, answers)
    assert len({len(a.tokens) for a in answers}) > 1
    for row, answer in zip(rows, answers, strict=True):
        assert tuple(row.argmax(-1)) == (*answer.tokens, head().decoder.end)


def test_a_step_is_a_token_or_the_end() -> None:
    _, _, answers = encoded()
    assert head().steps(answers) == [len(a.tokens) + 1 for a in answers]
    assert head().steps([Answer("cut off", (5, 6, 7), truncated=True)]) == [3]


@pytest.mark.parametrize(("seconds", "steps"), [(0, 5), (0.05, 5), (1, 15), (2.99, 34)])
def test_steps_are_bounded_by_the_audio(seconds: float, steps: int) -> None:
    assert head().most_steps(int(seconds * 16000)) == steps


def test_a_head_from_its_constants_goes_through_json_and_is_the_same_but_for_the_tokenizer() -> None:
    constants = json.loads(json.dumps(head().constants()))
    bare = Seq2SeqHead.from_constants(constants)
    assert bare.tokenizer is None
    assert (bare.decoder, bare.graphs) == (head().decoder, head().graphs)
    assert bare.most_steps(160000) == head().most_steps(160000)


class Spelling:
    """A tokenizer in which every token is one letter of a script."""

    def __init__(self, letter: str) -> None:
        self.letter = letter

    def decode(self, tokens: list[int], skip_special_tokens: bool) -> str:
        return self.letter * len(tokens)


@pytest.mark.parametrize(("letter", "factor"), [("a", 1), ("1", 1), ("\N{DEVANAGARI LETTER KA}", 2.5), ("\u4eca", 2.5)])
def test_a_script_of_many_tokens_a_second_is_given_more_before_it_is_cut_off(letter: str, factor: float) -> None:
    backend, outputs, answers = encoded()
    endless = replace(head().decoder, end=-1)
    sizes = np.full(len(answers), 16000)
    found = replace(head(), tokenizer=Spelling(letter), decoder=endless).read(backend, outputs, sizes)
    assert [len(a.tokens) for a in found] == [int(factor * 15)] * len(answers)
    assert all(a.truncated for a in found)
    # Those that end before the bound are left as they are.
    ended = replace(head(), tokenizer=Spelling(letter)).read(backend, outputs, np.full(len(answers), 160000))
    assert [a.tokens for a in ended] == [a.tokens for a in answers]
