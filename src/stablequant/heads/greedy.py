"""Greedy autoregressive search with a key-value cache, whatever runs the decoder.

The same function decodes the simulation, the float model and the int8 file, so a difference in a transcript is a
difference in the numbers and never in the search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stablequant.heads.decoder import DecoderSpec, choosable, empty_cache, finished, take_rows
from stablequant.heads.drafts import follow
from stablequant.network.backend import Backend


@dataclass(frozen=True)
class Generated:
    """Token ids of one utterance without prompt and end, and whether the length limit cut it off (a runaway)."""

    tokens: tuple[int, ...]
    truncated: bool


def greedy(
    backend: Backend,
    encoded: Mapping[str, Any],
    limits: Sequence[int],
    settings: DecoderSpec,
    drafts: Sequence[Sequence[int]] | None = None,
) -> list[Generated]:
    """Greedy search with a key-value cache.

    With ``drafts`` (the float model's transcripts, say) whole guesses are scored in one pass (`heads.drafts`). The batch is
    generated step by step after all if one of its utterances gains little this way, or if any token leads by less than
    ``drafts.LEAD``. So the result is that of plain greedy search, and a draft changes the cost alone, as long as the order
    of sums moves no logit by half of ``LEAD``. With many layers quantised it does.

    Args:
        backend: Runs the graph "decoder".
        encoded: Outputs of the graph "encoder" for B utterances.
        limits: Most tokens to generate for each utterance, the end included.
        settings: The decoder's constants.
        drafts: Guesses of the token ids, without prompt and end.
    """
    # What may follow a time depends on all before it, so a draft is not scored in one pass.
    rows = None if drafts is None or settings.timestamps else follow(backend, encoded, drafts, limits, settings)
    if rows is None:
        rows = _generate(backend, encoded, limits, settings)
    return [Generated(tuple(t for t in tokens if t != settings.end), tokens[-1:] != [settings.end]) for tokens in rows]


def _generate(
    backend: Backend, encoded: Mapping[str, Any], limits: Sequence[int], settings: DecoderSpec
) -> list[list[int]]:
    """Step by step, each row to its end or limit."""
    rows: list[list[int]] = [[] for _ in limits]
    unfinished = set(range(len(rows)))
    batch = list(range(len(rows)))  # rows that are computed; those that have ended stay until they are half of it
    feed = np.tile(np.array(settings.prompt, np.int64), (len(rows), 1))
    known = 0
    cache = empty_cache(backend, len(rows), settings)
    while True:
        out = backend.run("decoder", {"input_ids": backend.put(feed), **encoded, **cache})
        scores = choosable(backend.get(out["logits"])[:, -1:], known, settings)[:, 0]
        opening = len(settings.opening)
        if settings.timestamps and known >= opening:
            scores = settings.timestamps.choosable(scores, [rows[r][opening:] for r in batch], settings.end)
        choices = scores.argmax(-1)
        known += 1
        for r, choice in zip(batch, choices, strict=True):
            if r in unfinished:
                rows[r].append(int(choice))
        unfinished = {r for r in unfinished if not finished(rows[r], limits[r], settings)}
        going = [i for i, r in enumerate(batch) if r in unfinished]
        if not going:
            return rows
        cache = {past: out[name] for name, past in settings.cache}
        if len(going) <= len(batch) // 2:
            encoded, cache = (dict(take_rows(backend, x, going, len(batch))) for x in (encoded, cache))
            batch = [batch[i] for i in going]
        feed = np.array([[rows[r][-1]] for r in batch], np.int64)
