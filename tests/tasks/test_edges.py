"""Errors on first words, on last words and elsewhere."""

from __future__ import annotations

import pytest

from stablequant.tasks.edges import Edges, edges
from stablequant.tasks.rules import resolve

ENGLISH = resolve("english", "en")


@pytest.mark.parametrize(
    ("said", "answered", "expected"),
    [
        ("please hold the line", "please hold the line", Edges(4, 0, 0, 0, 0, 0)),
        ("please hold the line", "hold the line", Edges(4, 1, 0, 0, 0, 0)),
        ("please hold the line", "please hold the", Edges(4, 0, 1, 0, 0, 0)),
        ("please hold the line", "please hold the lion", Edges(4, 0, 1, 0, 0, 0)),
        ("please hold the line", "please told a line", Edges(4, 0, 0, 2, 0, 0)),
        ("please hold the line", "oh please hold on the line now and then", Edges(4, 0, 0, 1, 1, 3)),
        ("please hold the line", "", Edges(4, 1, 1, 2, 0, 0)),
        ("hold", "", Edges(1, 1, 0, 0, 0, 0)),
        ("", "all of it", Edges(0, 0, 0, 0, 0, 3)),
    ],
)
def test_each_error_is_counted_where_it_is(said: str, answered: str, expected: Edges) -> None:
    assert edges(ENGLISH, [said], [answered]) == [expected]


def test_text_without_spaces_has_characters_at_its_ends() -> None:
    rules = resolve("basic", "ja")
    assert edges(rules, ["こんにちは"], ["んにちわ"]) == [Edges(5, 1, 1, 0, 0, 0)]
