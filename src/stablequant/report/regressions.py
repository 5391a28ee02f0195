"""The recordings that int8 made worse: to hear, and what was said with what each model made of it, differences marked."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.report.formats import counted
from stablequant.report.material import Material
from stablequant.tasks import normalize

SAME, LOST, ADDED = "same", "lost", "added"


@dataclass(frozen=True)
class Part:
    """Some words in a row, which are the `SAME` in both texts, `LOST` in the second, or `ADDED` there."""

    kind: str
    text: str


@dataclass(frozen=True)
class Regression:
    """One recording.

    Attributes:
        name: Its id.
        text: What was said, normalised.
        said: By model: its errors, and its text compared with ``text``.
        player: The recording as a data URI; empty where it is not played.
        missing: Why it is not.
    """

    name: str
    text: str
    said: tuple[tuple[str, int, tuple[Part, ...]], ...]
    player: str = ""
    missing: str = ""


def regressions(material: Material) -> list[Regression]:
    """All that the summary lists, the worst first, without players."""
    clean = normalize.get(material.summary["data"]["normalizer"])
    spaced = counted(material.summary) == "word"
    bare = material.summary["data"]["references"] == "float32"
    found = []
    for row in material.summary["regressions"]:
        text = clean(row["text"])
        # Of speech without text what float says is the text.
        models = [("int8", "int8")] if bare else [("float32", "float"), ("int8", "int8")]
        said = tuple(
            (name, int(row[f"{key}_errors"]), marked(text, clean(row[key]), spaced=spaced)) for name, key in models
        )
        found.append(Regression(row["id"], text, said))
    return found


def with_players(found: Sequence[Regression], material: Material, room: int) -> list[Regression]:
    """The same with as many players, the worst first, as ``room`` bytes of page hold; the others say why they have none."""
    rows: Iterable[Mapping[str, Any]] = material.summary["regressions"]
    result = []
    for regression, row in zip(found, rows, strict=True):
        samples = material.sound(row)
        if samples is None:
            result.append(replace(regression, missing="the recording is not at hand"))
            continue
        player = mp3(samples, material.rate)
        if len(player) > room:
            result.append(replace(regression, missing="left out, for the page would grow too large"))
            continue
        room -= len(player)
        result.append(replace(regression, player=player))
    return result


def mp3(samples: NDArray[np.float32], rate: int) -> str:
    """Samples ``[T]`` as a data URI that every browser plays: MP3 of about 30 kbit/s, 5 kB a second as text."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="MP3", bitrate_mode="VARIABLE", compression_level=0.7)
    return "data:audio/mpeg;base64," + base64.b64encode(file.getvalue()).decode()


def marked(text: str, other: str, *, spaced: bool = True) -> tuple[Part, ...]:
    """How ``other`` differs from ``text``, both normalised, by words; by characters where not ``spaced``."""
    import jiwer

    pair = (text, other) if spaced else tuple(" ".join(t.replace(" ", "")) for t in (text, other))
    aligned = jiwer.process_words(*pair)
    (before,), (after,) = aligned.references, aligned.hypotheses
    parts = []
    for chunk in aligned.alignments[0]:
        left = before[chunk.ref_start_idx : chunk.ref_end_idx]
        right = after[chunk.hyp_start_idx : chunk.hyp_end_idx]
        parts += [(SAME, left)] if chunk.type == "equal" else [(LOST, left), (ADDED, right)]
    glue = " " if spaced else ""
    return tuple(Part(kind, glue.join(words)) for kind, words in parts if words)
