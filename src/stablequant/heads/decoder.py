"""One pass of a decoder: what it is given, and what its outputs become in the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stablequant.network.backend import Backend


@dataclass(frozen=True)
class DecoderSpec:
    """Constants of a decoder.

    Attributes:
        start: The token that it is given first.
        end: The token that it ends with.
        cache: The decoder's outputs that become inputs of its next step, each with that input's name.
        heads: Of attention.
        head_size: Channels of each.
    """

    start: int
    end: int
    cache: tuple[tuple[str, str], ...]
    heads: int
    head_size: int


def finished(tokens: Sequence[int], limit: int, settings: DecoderSpec) -> bool:
    """Whether a row has ended, or reached its limit."""
    return len(tokens) >= limit or list(tokens[-1:]) == [settings.end]


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
        "decoder", {"input_ids": backend.put(ids), **encoded, **empty_cache(backend, len(ids), settings)}
    )
