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

#: A pass over a guess costs about as much as two single steps: gaining no more tokens than this is no gain,
WORTHWHILE = 2
#: and a row that gains nothing so many times in a row is generated step by step.
PATIENCE = 4


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

    With ``drafts`` (the float model's transcripts, say) the decoder scores whole guesses in one pass and keeps each up
    to and including the first token it would have chosen otherwise; then the guess is mended and scored again. A row
    that gains little this way is generated step by step. The result is that of plain greedy search: a draft changes the
    cost alone.

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

    slow = [0 if drafts is not None else PATIENCE for _ in limits]
    while pending := [r for r in unfinished() if slow[r] < PATIENCE]:
        guesses = [mended(rows[r], drafts[r], limits[r] - 1) for r in pending]  # type: ignore[index]
        accepted = _score(backend, _take(backend, encoded, pending, len(rows)), guesses, settings)
        for r, tokens in zip(pending, accepted, strict=True):
            slow[r] = 0 if len(tokens) - len(rows[r]) > WORTHWHILE else slow[r] + 1
            rows[r] = tokens[: limits[r]]
    if pending := unfinished():
        known = [rows[r] for r in pending]
        encoded = _take(backend, encoded, pending, len(rows))
        for r, tokens in zip(
            pending, _generate(backend, encoded, known, [limits[r] for r in pending], settings), strict=True
        ):
            rows[r] = tokens
    return [Generated(tuple(t for t in tokens if t != settings.end), tokens[-1:] != [settings.end]) for tokens in rows]


def mended(tokens: Sequence[int], draft: Sequence[int], limit: int) -> list[int]:
    """A guess that begins with ``tokens``, known to be right, and goes on as ``draft`` does.

    Where they parted, words may have been inserted or dropped, so the draft is taken up again behind its occurrence
    of the last two known tokens (or the last one) that lies nearest; a decoder that repeats itself is guessed to go on
    with its own text.
    """
    tokens, draft = list(tokens), list(draft)
    for length in (2, 1):
        tail = tokens[-length:]
        if len(tail) < length:
            continue
        for text in (draft, tokens[:-1]):
            ends = [i + length for i in range(len(text) - length + 1) if text[i : i + length] == tail]
            if ends:
                nearest = min(ends, key=lambda end: abs(end - len(tokens)))
                return (tokens + text[nearest:])[:limit]
    return (tokens + draft[len(tokens) :])[:limit]


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
    out = backend.run(
        "decoder", {"input_ids": backend.put(ids), **encoded, **_empty_cache(backend, len(ids), settings)}
    )
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
    unfinished = set(range(len(rows)))
    riding = list(range(len(rows)))  # rows in the batch; those that have ended ride along until they are half of it
    feed = np.array([[settings.start, *tokens] for tokens in rows], np.int64)
    cache = _empty_cache(backend, len(rows), settings)
    for step in range(shared, max(limits)):
        out = backend.run("decoder", {"input_ids": backend.put(feed), **encoded, **cache})
        choices = backend.get(out["logits"])[:, -1].argmax(-1)
        for r, choice in zip(riding, choices, strict=True):
            if r in unfinished:
                rows[r].append(known[r][step] if step < len(known[r]) else int(choice))
        unfinished = {r for r in unfinished if len(rows[r]) < limits[r] and rows[r][-1] != settings.end}
        going = [i for i, r in enumerate(riding) if r in unfinished]
        if not going:
            break
        cache = {f"past_{role}_{i}": out[f"{role}_{i}"] for role in ("key", "value") for i in range(settings.layers)}
        if len(going) <= len(riding) // 2:
            encoded, cache = (dict(_take(backend, x, going, len(riding))) for x in (encoded, cache))
            riding = [riding[i] for i in going]
        feed = np.array([[rows[r][-1]] for r in riding], np.int64)
    return rows
