"""From a model's outputs to token ids: CTC collapse and greedy autoregressive search, whatever runs the graphs.

The same two functions decode the simulation, the float model and the int8 file, so a difference in a transcript is a
difference in the numbers and never in the search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


class Backend(Protocol):
    """Runs a model's graphs by name; arrays it hands out may live on its own device and are handed back to it as is."""

    def run(self, graph: str, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name."""

    def put(self, array: NDArray[Any]) -> Any:
        """A NumPy array in the backend's form."""

    def get(self, array: Any) -> NDArray[Any]:
        """The backend's form as a NumPy array."""


@dataclass(frozen=True)
class Generated:
    """Token ids of one utterance without start and end, and whether the length limit cut it off (a runaway)."""

    tokens: tuple[int, ...]
    truncated: bool


@dataclass(frozen=True)
class GreedySettings:
    """Start and end token, layers and cache shape of a decoder."""

    start: int
    end: int
    layers: int
    heads: int
    head_size: int


def ctc_ids(logits: NDArray[Any], frames: IntArray, blank: int) -> list[tuple[int, ...]]:
    """Best path: the likeliest id of each valid frame, repeats merged, blanks dropped.

    Args:
        logits: ``[B, T, V]``.
        frames: Valid frames ``[B]``.
        blank: Id of the CTC blank.
    """
    result = []
    for ids, count in zip(logits.argmax(-1), frames, strict=True):
        valid = ids[:count]
        first = np.ones(len(valid), bool)
        first[1:] = valid[1:] != valid[:-1]
        result.append(tuple(int(i) for i in valid[first] if i != blank))
    return result


def greedy(
    backend: Backend,
    encoded: Mapping[str, Any],
    limits: Sequence[int],
    settings: GreedySettings,
    drafts: Sequence[Sequence[int]] | None = None,
) -> list[Generated]:
    """Greedy search with a key-value cache.

    With ``drafts`` (the float model's transcripts, say) the decoder first scores whole drafts in one pass and keeps
    each up to and including the first token it would have chosen otherwise; only what is left is generated step by
    step. The result is that of plain greedy search: a draft changes the cost alone.

    Args:
        backend: Runs the graph "decoder".
        encoded: Outputs of the graph "encoder" for B utterances.
        limits: Most tokens to generate for each utterance, the end included.
        settings: The decoder's constants.
        drafts: Guesses of the token ids, without start and end.
    """
    rows: list[list[int]] = [[] for _ in limits]

    def unfinished() -> list[int]:
        return [r for r, tokens in enumerate(rows) if len(tokens) < limits[r] and tokens[-1:] != [settings.end]]

    if drafts is not None:
        for _ in range(2):  # twice, because after one substituted token the rest of a draft often stands
            if pending := unfinished():
                guesses = [rows[r] + list(drafts[r][len(rows[r]) : limits[r] - 1]) for r in pending]
                accepted = _score(backend, _take(backend, encoded, pending, len(rows)), guesses, settings)
                for r, tokens in zip(pending, accepted, strict=True):
                    rows[r] = tokens[: limits[r]]
    if pending := unfinished():
        known = [rows[r] for r in pending]
        grown = _generate(
            backend, _take(backend, encoded, pending, len(rows)), known, [limits[r] for r in pending], settings
        )
        for r, tokens in zip(pending, grown, strict=True):
            rows[r] = tokens
    return [
        Generated(tuple(t for t in tokens if t != settings.end), tokens[-1:] != [settings.end]) for tokens in rows
    ]


def _take(backend: Backend, encoded: Mapping[str, Any], rows: Sequence[int], count: int) -> Mapping[str, Any]:
    """The given rows of every encoder output."""
    if len(rows) == count:
        return encoded
    return {name: backend.put(backend.get(value)[list(rows)]) for name, value in encoded.items()}


def _empty_cache(backend: Backend, batch: int, settings: GreedySettings) -> dict[str, Any]:
    empty = backend.put(np.zeros((batch, settings.heads, 0, settings.head_size), np.float32))
    return {f"past_{role}_{i}": empty for role in ("key", "value") for i in range(settings.layers)}


def _score(
    backend: Backend, encoded: Mapping[str, Any], guesses: Sequence[Sequence[int]], settings: GreedySettings
) -> list[list[int]]:
    """What greedy search would emit along each guess: its agreeing part, and the first token beyond."""
    ids = np.full((len(guesses), 1 + max(map(len, guesses))), settings.end, np.int64)
    ids[:, 0] = settings.start
    for row, guess in zip(ids, guesses, strict=True):
        row[1 : 1 + len(guess)] = guess
    out = backend.run("decoder", {"input_ids": backend.put(ids), **encoded, **_empty_cache(backend, len(ids), settings)})
    accepted = []
    for choices, guess in zip(backend.get(out["logits"]).argmax(-1).tolist(), guesses, strict=True):
        agreeing = next((i for i, (c, g) in enumerate(zip(choices, guess, strict=False)) if c != g), len(guess))
        accepted.append(choices[: agreeing + 1])
    return accepted


def _generate(
    backend: Backend,
    encoded: Mapping[str, Any],
    known: Sequence[Sequence[int]],
    limits: Sequence[int],
    settings: GreedySettings,
) -> list[list[int]]:
    """Step by step from the tokens already ``known`` of each row to its end or limit."""
    shared = min(map(len, known))
    rows = [list(tokens[:shared]) for tokens in known]
    feed = np.array([[settings.start, *tokens] for tokens in rows], np.int64)
    cache = _empty_cache(backend, len(rows), settings)
    while True:
        out = backend.run("decoder", {"input_ids": backend.put(feed), **encoded, **cache})
        choices = backend.get(out["logits"])[:, -1].argmax(-1)
        step = len(rows[0])
        feed = np.full((len(rows), 1), settings.end, np.int64)
        for r, tokens in enumerate(rows):
            done = tokens[-1:] == [settings.end] or step >= limits[r]
            token = settings.end if done else (known[r][step] if step < len(known[r]) else int(choices[r]))
            tokens.append(token)
            feed[r, 0] = token
        if all(settings.end in tokens or len(tokens) >= limit for tokens, limit in zip(rows, limits, strict=True)):
            return [_cut(tokens, limit, settings.end) for tokens, limit in zip(rows, limits, strict=True)]
        cache = {
            f"past_{role}_{i}": out[f"{role}_{i}"] for role in ("key", "value") for i in range(settings.layers)
        }


def _cut(tokens: list[int], limit: int, end: int) -> list[int]:
    tokens = tokens[:limit]
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens
