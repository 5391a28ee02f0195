"""A phrase over and over is a loop; speech that repeats itself a little is none."""

from __future__ import annotations

import json

import pytest
import support

from stablequant.heads.head import Answer, joined
from stablequant.heads.loops import loops


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([], False),
        ([5] * 15, False),
        ([5] * 16, True),
        ([1, 2, 3, *[5] * 16, 7, 8], True),
        ([1, 2, 3, 4] * 3, False),
        ([9, *[1, 2, 3, 4] * 4], True),
        ([9, *[1, 2, 3, 4] * 3, 1, 2, 3], False),
        ([*range(30)] * 4, True),
        ([*range(30)] * 3, False),
        ([*range(200)], False),
        ([5, 6] * 7 + [1] + [5, 6] * 7, False),
    ],
)
def test_a_loop_is_a_phrase_four_times_and_sixteen_tokens(tokens: list[int], expected: bool) -> None:
    assert loops(tokens) is expected


def test_no_text_of_the_embedded_speech_is_a_loop() -> None:
    tokenizer = support.moonshine().frontend.processor.tokenizer
    lines = (support.SPEECH / "manifest.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    assert len(texts) > 300
    assert not [text for text in texts if loops(tokenizer(text, add_special_tokens=False).input_ids)]


def test_a_recording_s_answer_is_those_of_its_pieces() -> None:
    parts = [Answer("one", (1,)), Answer("", ()), Answer("two", (2, 3), truncated=True), Answer("x", (), looping=True)]
    assert joined(parts) == Answer("one two x", (1, 2, 3), truncated=True, looping=True)
    assert joined(parts[:1]) is parts[0]
