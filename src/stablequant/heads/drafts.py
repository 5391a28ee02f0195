"""Drafts: guesses of what a decoder will say, scored in one pass and repaired where it says something else.

The decoder scores whole guesses at once and keeps each up to and including the first token it would have chosen
otherwise; from there the guess is repaired and the next stretch scored. A pass adds in another order than single steps,
so a token must lead the second best clearly, or the draft is given up: the result is that of plain greedy search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.heads.decoder import DecoderSpec, choosable, finished, forced, take_rows
from stablequant.network.backend import Backend

#: Tokens that one pass guesses ahead,
STRETCH = 16
#: how many it must gain to be worth more than single steps,
WORTHWHILE = 2
#: and how often in a row an utterance may fail that before its batch is generated step by step.
PATIENCE = 4
#: By how much, in logits, a token must lead the second best to be believed of a pass over a draft. One pass adds in
#: another order than single steps; with one layer quantised that moved no logit of Moonshine tiny by a tenth of it.
LEAD = 0.01


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


def follow(
    backend: Backend,
    encoded: Mapping[str, Any],
    drafts: Sequence[Sequence[int]],
    limits: Sequence[int],
    settings: DecoderSpec,
) -> list[list[int]] | None:
    """What greedy search emits, by drafts: all rows at once, then each on its own with its cache.

    ``None`` where that is not certain, or not worth it.
    """
    guesses = [list(draft[: limit - 1]) for draft, limit in zip(drafts, limits, strict=True)]
    out = forced(backend, encoded, guesses, settings)
    logits = backend.get(out["logits"])
    begun = [_accepted(row, guess, 0, settings) for row, guess in zip(logits, guesses, strict=True)]
    rows = []
    for r, tokens in enumerate(begun):
        if tokens is None:
            return None
        if not finished(tokens, limits[r], settings):
            alone = take_rows(backend, encoded, [r], len(guesses))
            cache = {past: backend.get(out[name])[r : r + 1] for name, past in settings.cache}
            tokens = _speculate(backend, alone, cache, tokens, drafts[r], limits[r], settings)
            if tokens is None:
                return None
        rows.append(tokens)
    return rows


def _accepted(logits: NDArray[Any], guess: Sequence[int], known: int, settings: DecoderSpec) -> list[int] | None:
    """The part of a guess that the decoder agrees with, and the first token beyond; ``None`` if it hardly leads.

    Args:
        logits: ``[at least 1 + len(guess), V]``.
        guess: Token ids.
        known: How many tokens come before them.
        settings: The decoder's constants.
    """
    (logits,) = choosable(logits[None, : 1 + len(guess)], known, settings)
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
    settings: DecoderSpec,
) -> list[int] | None:
    """Go on from ``tokens`` of one utterance a guessed stretch at a time; ``None`` where guesses keep failing.

    The cache holds a position for each token of the prompt and for every further one but the last.
    """
    slow = 0
    begin = len(settings.prompt) - 1
    while not finished(tokens, limit, settings):
        known = len(tokens)
        guess = repaired(tokens, draft, limit - 1)[known : known + STRETCH]
        past = {name: backend.put(value[:, :, : begin + known]) for name, value in cache.items()}
        ids = np.array([[tokens[-1], *guess]], np.int64)
        out = backend.run("decoder", {"input_ids": backend.put(ids), **encoded, **past})
        more = _accepted(backend.get(out["logits"])[0], guess, known, settings)
        slow = 0 if more is not None and len(more) > WORTHWHILE else slow + 1
        if more is None or slow == PATIENCE:
            return None
        tokens = tokens + more
        cache = {past: backend.get(out[name]) for name, past in settings.cache}
    return tokens[:limit]
