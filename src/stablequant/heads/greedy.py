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

#: Tokens that one pass guesses ahead,
STRETCH = 16
#: how many it must gain to be worth more than single steps,
WORTHWHILE = 2
#: and how often in a row an utterance may fail that before its batch is generated step by step.
PATIENCE = 4
#: By how much, in logits, a token must lead the second best to be believed of a pass over a draft. One pass adds in
#: another order than single steps; with one layer quantised that moved no logit of Moonshine tiny by a tenth of it.
LEAD = 0.01


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
    to and including the first token it would have chosen otherwise; from there the guess is repaired and the next
    stretch scored. The batch is generated step by step after all if one of its utterances gains little this way, or
    if any token leads by less than ``LEAD``. So the result is that of plain greedy search, and a draft changes the cost
    alone, as long as the order of sums moves no logit by half of ``LEAD``. With many layers quantised it does.

    Args:
        backend: Runs the graph "decoder".
        encoded: Outputs of the graph "encoder" for B utterances.
        limits: Most tokens to generate for each utterance, the end included.
        settings: The decoder's constants.
        drafts: Guesses of the token ids, without start and end.
    """
    rows = None if drafts is None else _follow(backend, encoded, drafts, limits, settings)
    if rows is None:
        rows = _generate(backend, encoded, limits, settings)
    return [Generated(tuple(t for t in tokens if t != settings.end), tokens[-1:] != [settings.end]) for tokens in rows]


def _finished(tokens: Sequence[int], limit: int, settings: GreedySettings) -> bool:
    return len(tokens) >= limit or list(tokens[-1:]) == [settings.end]


def repaired(tokens: Sequence[int], draft: Sequence[int], limit: int) -> list[int]:
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


def forced(
    backend: Backend, encoded: Mapping[str, Any], rows: Sequence[Sequence[int]], settings: GreedySettings
) -> dict[str, Any]:
    """Outputs of the decoder when it is given ``rows`` of tokens, one pass for all.

    Args:
        backend: Runs the graph "decoder".
        encoded: Outputs of the graph "encoder" for B utterances.
        rows: Token ids of each utterance, without start and end.
        settings: The decoder's constants.

    Returns:
        ``logits`` ``[B, 1 + longest row, V]``, of which a shorter row's last are of padding, and the cache.
    """
    ids = np.full((len(rows), 1 + max(map(len, rows))), settings.end, np.int64)
    ids[:, 0] = settings.start
    for line, row in zip(ids, rows, strict=True):
        line[1 : 1 + len(row)] = row
    return backend.run(
        "decoder", {"input_ids": backend.put(ids), **encoded, **_empty_cache(backend, len(ids), settings)}
    )


def _follow(
    backend: Backend,
    encoded: Mapping[str, Any],
    drafts: Sequence[Sequence[int]],
    limits: Sequence[int],
    settings: GreedySettings,
) -> list[list[int]] | None:
    """What greedy search emits, by drafts: all rows at once, then each on its own with its cache.

    ``None`` where that is not certain, or not worth it.
    """
    guesses = [list(draft[: limit - 1]) for draft, limit in zip(drafts, limits, strict=True)]
    out = forced(backend, encoded, guesses, settings)
    logits = backend.get(out["logits"])
    begun = [_accepted(row, guess) for row, guess in zip(logits, guesses, strict=True)]
    rows = []
    for r, tokens in enumerate(begun):
        if tokens is None:
            return None
        if not _finished(tokens, limits[r], settings):
            alone = _take(backend, encoded, [r], len(guesses))
            cache = {f"past_{name}": backend.get(value)[r : r + 1] for name, value in out.items() if name != "logits"}
            tokens = _speculate(backend, alone, cache, tokens, drafts[r], limits[r], settings)
            if tokens is None:
                return None
        rows.append(tokens)
    return rows


def _accepted(logits: NDArray[Any], guess: Sequence[int]) -> list[int] | None:
    """The part of a guess that the decoder agrees with, and the first token beyond; ``None`` if it hardly leads.

    Args:
        logits: ``[at least 1 + len(guess), V]``.
        guess: Token ids.
    """
    choices = logits.argmax(-1).tolist()
    agreeing = next((i for i, (c, g) in enumerate(zip(choices, guess, strict=False)) if c != g), len(guess))
    best = np.partition(logits[: agreeing + 1], -2, axis=-1)[:, -2:]
    return None if (best[:, 1] - best[:, 0]).min() < LEAD else choices[: agreeing + 1]


def _speculate(
    backend: Backend,
    encoded: Mapping[str, Any],
    cache: Mapping[str, NDArray[Any]],
    tokens: list[int],
    draft: Sequence[int],
    limit: int,
    settings: GreedySettings,
) -> list[int] | None:
    """Go on from ``tokens`` of one utterance a guessed stretch at a time; ``None`` where guesses keep failing.

    The cache holds a position for the start and for every token but the last.
    """
    slow = 0
    while not _finished(tokens, limit, settings):
        known = len(tokens)
        guess = repaired(tokens, draft, limit - 1)[known : known + STRETCH]
        past = {name: backend.put(value[:, :, :known]) for name, value in cache.items()}
        ids = np.array([[tokens[-1], *guess]], np.int64)
        out = backend.run("decoder", {"input_ids": backend.put(ids), **encoded, **past})
        more = _accepted(backend.get(out["logits"])[0], guess)
        slow = 0 if more is not None and len(more) > WORTHWHILE else slow + 1
        if more is None or slow == PATIENCE:
            return None
        tokens = tokens + more
        cache = {f"past_{name}": backend.get(value) for name, value in out.items() if name != "logits"}
    return tokens[:limit]


def _generate(
    backend: Backend, encoded: Mapping[str, Any], limits: Sequence[int], settings: GreedySettings
) -> list[list[int]]:
    """Step by step, each row to its end or limit."""
    rows: list[list[int]] = [[] for _ in limits]
    unfinished = set(range(len(rows)))
    riding = list(range(len(rows)))  # rows in the batch; those that have ended ride along until they are half of it
    feed = np.full((len(rows), 1), settings.start, np.int64)
    cache = _empty_cache(backend, len(rows), settings)
    while True:
        out = backend.run("decoder", {"input_ids": backend.put(feed), **encoded, **cache})
        choices = backend.get(out["logits"])[:, -1].argmax(-1)
        for r, choice in zip(riding, choices, strict=True):
            if r in unfinished:
                rows[r].append(int(choice))
        unfinished = {r for r in unfinished if not _finished(rows[r], limits[r], settings)}
        going = [i for i, r in enumerate(riding) if r in unfinished]
        if not going:
            return rows
        cache = {f"past_{role}_{i}": out[f"{role}_{i}"] for role in ("key", "value") for i in range(settings.layers)}
        if len(going) <= len(riding) // 2:
            encoded, cache = (dict(_take(backend, x, going, len(riding))) for x in (encoded, cache))
            riding = [riding[i] for i in going]
        feed = np.array([[rows[r][-1]] for r in riding], np.int64)
