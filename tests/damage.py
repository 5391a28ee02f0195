"""Damage to what a program reads, for tests that whatever stands there is used rightly or refused with a message."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_DEEP: Any = []
for _ in range(200):
    _DEEP = [_DEEP]
#: Values that some code takes for what they are not.
VALUES: list[Any] = [None, True, False, 0, 1, -1, 2, 3, 7, 17, 31, 32, 10**9, 10**30, -(10**30), 0.0, 0.5, -1.5, 1e300]
VALUES += ["", "0", "false", "max", "gelu", "<pad>", "|", ".", "/", "\0", "x" * 10_000, "\ud800", "\x1b[31m"]
VALUES += [float("nan"), float("inf"), _DEEP, [], [0], [1, 2], [None], ["a"], [[1]]]
VALUES += [{}, {"a": 1}, {"content": "x"}, {"": {}}, {"0": {"content": "E"}}]
#: What one character of a file is replaced with.
SCRAPS = ["", "}", "[" * 100_000, "9" * 5000, "\ufeff", "\0", '"a":1,', "-", "1e999", "\ud800"]


def fuzz(examples: int, check: Callable[[st.DataObject], None]) -> None:
    """Run ``check`` on the same ``examples`` every time."""
    every = list(HealthCheck)
    chosen = settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=every
    )
    chosen(given(st.data())(check))()


@st.composite
def damaged(draw: st.DrawFn, text: str) -> str:
    """The text of a JSON file with one or two values changed or gone; or one character replaced anywhere."""
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(text)))
        return text[:at] + draw(st.sampled_from(SCRAPS)) + text[at + 1 :]
    value = json.loads(text)
    for _ in range(draw(st.integers(1, 2))):
        # An index, not the holder itself: what hypothesis draws must print shortly.
        found = [holder for holder in _holders(value) if holder]
        holder = found[draw(st.integers(0, len(found) - 1))]
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = keys[draw(st.integers(0, len(keys) - 1))]
        if draw(st.integers(0, 5)) == 0:
            del holder[key]
        else:
            holder[key] = deepcopy(draw(st.sampled_from(VALUES)))
    return json.dumps(value)


def _holders(value: Any) -> Iterator[Any]:
    """Every object and list in a JSON value."""
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _holders(item)
