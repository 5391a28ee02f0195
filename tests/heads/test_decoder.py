"""Which tokens a decoder may choose, position by position."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablequant.errors import SettingsError
from stablequant.heads.decoder import DecoderSpec, choosable
from stablequant.heads.requests import Requests

SPEC = DecoderSpec((1,), 2, (), 1, 1, opening=((5, 6), (7,)), suppressed=(0, 5, 7), suppressed_first=(2, 3))
PLAIN = DecoderSpec((1,), 2, (), 1, 1)
MANY = Requests({"en": 10, "de": 11}, transcribe=20, translate=21, closing=(30,))


def allowed(position: int) -> set[int]:
    """By hand: the languages, the task, the first of the text, the rest of it."""
    everything = set(range(9))
    return [{5, 6}, {7}, everything - {0, 5, 7, 2, 3}, everything - {0, 5, 7}][min(position, 3)]


@given(known=st.integers(0, 6), steps=st.integers(1, 6), rows=st.integers(1, 3))
def test_what_may_be_chosen_depends_on_the_position_alone(known: int, steps: int, rows: int) -> None:
    logits = np.random.default_rng(known).standard_normal((rows, steps, 9)).astype(np.float32)
    before = logits.copy()
    found = choosable(logits, known, SPEC)
    assert np.array_equal(logits, before)
    for step in range(steps):
        kept = np.isfinite(found[:, step])
        assert all(set(np.flatnonzero(row)) == allowed(known + step) for row in kept)
        assert np.array_equal(found[:, step][kept], logits[:, step][kept])


def test_without_suppressed_tokens_nothing_is_copied() -> None:
    logits = np.zeros((1, 1, 9), np.float32)
    assert choosable(logits, 0, PLAIN) is logits


@pytest.mark.parametrize(
    ("language", "translate", "prompt", "opening"),
    [
        ("de", False, (1, 11, 20, 30), ()),
        ("DE-at", True, (1, 11, 21, 30), ()),
        (None, False, (1,), ((10, 11), (20,), (30,))),
        (None, True, (1,), ((10, 11), (21,), (30,))),
    ],
)
def test_a_language_is_in_the_prompt_or_is_chosen_first(
    language: str | None, translate: bool, prompt: tuple[int, ...], opening: tuple[tuple[int, ...], ...]
) -> None:
    asked = MANY.put_to(PLAIN, language, translate=translate)
    assert (asked.prompt, asked.opening) == (prompt, opening)
    # What was asked for before leaves nothing behind.
    assert MANY.put_to(MANY.put_to(PLAIN, "en", translate=True), language, translate=translate) == asked


def test_a_model_of_one_language_has_none_in_its_prompt() -> None:
    english = Requests(closing=(30,))
    assert english.put_to(PLAIN, None, translate=False).prompt == english.put_to(PLAIN, "eng", translate=False).prompt
    assert english.put_to(PLAIN, "en", translate=False).prompt == (1, 30)
    with pytest.raises(SettingsError, match=r"language fr, but the model knows English alone\. Expected en, or none"):
        english.put_to(PLAIN, "fr", translate=False)
