"""Differences marked, and recordings to hear as far as the page has room."""

from __future__ import annotations

import base64
import dataclasses
import io
from typing import Any

import numpy as np
import pytest
import soundfile

from stablequant.jobs.evidence import Evidence
from stablequant.report import page as pages
from stablequant.report.material import Material
from stablequant.report.regressions import ADDED, LOST, SAME, Part, marked, mp3, regressions, with_players


@pytest.mark.parametrize(
    ("text", "other", "parts"),
    [
        ("a b c", "a x c", [(SAME, "a"), (LOST, "b"), (ADDED, "x"), (SAME, "c")]),
        ("a b c", "a c", [(SAME, "a"), (LOST, "b"), (SAME, "c")]),
        ("a b", "a b c", [(SAME, "a b"), (ADDED, "c")]),
        ("a b", "", [(LOST, "a b")]),
        ("a", "a", [(SAME, "a")]),
    ],
)
def test_words_that_differ_are_marked(text: str, other: str, parts: list[tuple[str, str]]) -> None:
    assert marked(text, other) == tuple(Part(*part) for part in parts)


def test_text_without_spaces_is_marked_by_characters() -> None:
    assert marked("今天天", "今日天", spaced=False) == (
        Part(SAME, "今"),
        Part(LOST, "天"),
        Part(ADDED, "日"),
        Part(SAME, "天"),
    )


def test_a_player_holds_the_recording() -> None:
    time = np.arange(16000, dtype=np.float32) / 16000
    uri = mp3(0.5 * np.sin(2 * np.pi * 440 * time).astype(np.float32), 16000)
    kind, _, data = uri.partition(",")
    assert kind == "data:audio/mpeg;base64"
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
    assert (rate, len(samples)) == (16000, pytest.approx(16000, abs=1700))
    assert int(np.argmax(np.abs(np.fft.rfft(samples[2000:14000])))) == pytest.approx(440 * 12000 / 16000, abs=1)


def test_no_more_players_than_fit(evidence: Evidence, summary: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"id": evidence.test["float"].examples[0].id, "audio": None, "text": "a", "float": "a", "int8": "b"}
    rows = [row | {"float_errors": 0.0, "int8_errors": 1.0}] * 3
    material = dataclasses.replace(Material.of(evidence, summary), summary=summary | {"regressions": rows})
    found = regressions(material)
    assert [(name, errors) for name, errors, _ in found[0].said] == [("float32", 0), ("int8", 1)]
    whole = with_players(found, material, 10**9)
    room = 2 * len(whole[0].player)
    assert [bool(r.player) for r in with_players(found, material, room)] == [True, True, False]
    silent = len(pages.page(dataclasses.replace(material, sound=lambda row: None)).encode())
    monkeypatch.setattr(pages, "MOST_BYTES", silent + room)
    page = pages.page(material)
    assert page.count("<audio") == 1
    assert page.count("left out, for the page would grow too large") == 2
    assert len(page.encode()) <= silent + room
