"""One pass of a decoder: what it is given, which of its outputs may be chosen, and what they become in the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.heads.timestamps import Timestamps
from stablequant.network.backend import Backend


@dataclass(frozen=True)
class DecoderSpec:
    """Constants of a decoder.

    Attributes:
        prompt: The tokens that it is given first.
        end: The token that it ends with.
        cache: The decoder's outputs that become inputs of its next step, each with that input's name.
        heads: Of attention.
        head_size: Channels of each.
        opening: For each of the first tokens that it generates, those that may be chosen: the languages, then the one that asks
            for a transcript. They belong to an answer's tokens.
        suppressed: Tokens that are never chosen after the opening.
        suppressed_first: Tokens that are not chosen as the very first after it.
        timestamps: The tokens that stand for times, where they are written among the text.
    """

    prompt: tuple[int, ...]
    end: int
    cache: tuple[tuple[str, str], ...]
    heads: int
    head_size: int
    opening: tuple[tuple[int, ...], ...] = ()
    suppressed: tuple[int, ...] = ()
    suppressed_first: tuple[int, ...] = ()
    timestamps: Timestamps | None = None


def finished(tokens: Sequence[int], limit: int, settings: DecoderSpec) -> bool:
    """Whether a row has ended, or reached its limit."""
    return len(tokens) >= limit or list(tokens[-1:]) == [settings.end]


def choosable(logits: NDArray[Any], known: int, settings: DecoderSpec) -> NDArray[Any]:
    """Logits with minus infinity for every token that may not be chosen.

    Args:
        logits: ``[B, steps, V]``, left as they are.
        known: Tokens that an answer has before the first of the steps.
        settings: The decoder's constants.
    """
    if not (settings.opening or settings.suppressed or settings.suppressed_first):
        return logits
    result = logits.copy()
    result[..., list(settings.suppressed)] = -np.inf
    opening = len(settings.opening)
    for step in range(max(0, min(logits.shape[1], opening + 1 - known))):
        if known + step == opening:
            result[:, step, list(settings.suppressed_first)] = -np.inf
        else:
            allowed = list(settings.opening[known + step])
            result[:, step] = -np.inf
            result[:, step, allowed] = logits[:, step, allowed]
    return result


def take_rows(backend: Backend, encoded: Mapping[str, Any], rows: Sequence[int], count: int) -> Mapping[str, Any]:
    """The given rows of every encoder output."""
    if len(rows) == count:
        return encoded
    return {name: backend.put(backend.get(value)[list(rows)]) for name, value in encoded.items()}


def empty_cache(backend: Backend, batch: int, settings: DecoderSpec) -> dict[str, Any]:
    """A cache before the first token."""
    empty = backend.put(np.zeros((batch, settings.heads, 0, settings.head_size), np.float32))
    return {past: empty for _, past in settings.cache}


def forced(
    backend: Backend, encoded: Mapping[str, Any], rows: Sequence[Sequence[int]], settings: DecoderSpec
) -> dict[str, Any]:
    """Outputs of the decoder when it is given ``rows`` of tokens, one pass for all.

    Args:
        backend: Runs the graph "decoder".
        encoded: Outputs of the graph "encoder" for B utterances.
        rows: Token ids of each utterance, without prompt and end.
        settings: The decoder's constants.

    Returns:
        ``logits`` ``[B, 1 + longest row, V]``, of which a shorter row's last are of padding, and the cache, which has a position
        for each token of the prompt and of the longest row.
    """
    begin = len(settings.prompt)
    ids = np.full((len(rows), begin + max(map(len, rows))), settings.end, np.int64)
    ids[:, :begin] = settings.prompt
    for line, row in zip(ids, rows, strict=True):
        line[begin : begin + len(row)] = row
    out = backend.run("decoder", {"input_ids": backend.put(ids), **encoded, **empty_cache(backend, len(ids), settings)})
    # What the prompt's own tokens are followed by is known.
    return {**out, "logits": out["logits"][:, begin - 1 :]}
