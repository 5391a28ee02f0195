"""Utterances with their audio in memory, in batches of similar length."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stablequant.data import batching
from stablequant.data.audio import LONGEST_SECONDS, read_many
from stablequant.data.pieces import cut
from stablequant.data.splits import fingerprint
from stablequant.data.utterance import Utterance

#: Shortest to longest in the batches of a part: without, a block of thirty utterances is a quarter padding.
ALIKE = 0.8


@dataclass(frozen=True)
class Speech:
    """Audio ready for a model, as a rule with its text.

    Attributes:
        utterances: What was said, in the order of ``waveforms``.
        waveforms: Mono float32 ``[T]`` each.
        sampling_rate: Hertz.
        batches: Indices of utterances of similar length, each index once.
        skipped: Id and reason of each recording that could not be used.
        notes: Id and note of each recording that is used and odd.
        window: Seconds that the model pads every recording to; 0: it pads to the longest of a batch.
    """

    utterances: tuple[Utterance, ...]
    waveforms: tuple[NDArray[np.float32], ...]
    sampling_rate: int
    batches: tuple[tuple[int, ...], ...]
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[tuple[str, str], ...] = ()
    window: float = 0.0

    @classmethod
    def read(
        cls,
        utterances: Sequence[Utterance],
        sampling_rate: int,
        *,
        max_bad_fraction: float,
        batch_size: int,
        batch_seconds: float,
        shortest: int = 1,
        longest: float | None = LONGEST_SECONDS,
        refused: Mapping[str, str] | None = None,
        window: float = 0.0,
    ) -> Speech:
        """Decode, resample and sort into batches of at most ``batch_size`` and ``batch_seconds`` with padding.

        What cannot be used is skipped as `read_many` says.
        """
        kept, skipped, notes = read_many(
            utterances, sampling_rate, max_bad_fraction, shortest=shortest, longest=longest, refused=refused
        )
        waveforms = tuple(w for _, w in kept)
        batches = batches_of(waveforms, sampling_rate, batch_size, batch_seconds, window)
        return cls(tuple(u for u, _ in kept), waveforms, sampling_rate, batches, tuple(skipped), tuple(notes), window)

    def in_pieces(self, longest: float, batch_size: int, batch_seconds: float) -> tuple[Speech, tuple[int, ...]]:
        """Recordings of more than ``longest`` seconds cut into pieces, and for each piece the index of its utterance."""
        cuts = [[piece.samples for piece in cut([w], self.sampling_rate, longest)] for w in self.waveforms]
        owners = tuple(i for i, pieces in enumerate(cuts) for _ in pieces)
        waveforms = tuple(piece for pieces in cuts for piece in pieces)
        batches = batches_of(waveforms, self.sampling_rate, batch_size, batch_seconds, self.window)
        utterances = tuple(self.utterances[i] for i in owners)
        return Speech(utterances, waveforms, self.sampling_rate, batches, (), window=self.window), owners

    def with_texts(self, texts: Sequence[str]) -> Speech:
        """The same recordings with other texts, one an utterance."""
        rows = zip(self.utterances, texts, strict=True)
        return replace(self, utterances=tuple(replace(u, text=text) for u, text in rows))

    def first(self, count: int) -> Speech:
        """The first ``count`` utterances, in batches as large as these."""
        size = max(map(len, self.batches))
        longest = max(len(b) * max(len(self.waveforms[i]) for i in b) for b in self.batches)
        padded = max(longest / self.sampling_rate, size * self.window)
        return self.part(range(min(count, len(self.utterances))), size, padded)

    def draw(self, count: int, seed: int) -> list[int]:
        """Indices of at most ``count`` utterances, drawn with ``seed``, ascending."""
        order = np.random.default_rng(seed).permutation(len(self.utterances))
        return sorted(order[:count].tolist())

    def part(self, indices: Sequence[int], batch_size: int, batch_seconds: float) -> Speech:
        """The utterances ``indices``, in batches of their own."""
        waveforms = tuple(self.waveforms[i] for i in indices)
        batches = batches_of(waveforms, self.sampling_rate, batch_size, batch_seconds, self.window, alike=ALIKE)
        utterances = tuple(self.utterances[i] for i in indices)
        return Speech(utterances, waveforms, self.sampling_rate, batches, (), window=self.window)

    @property
    def seconds(self) -> float:
        """Of audio, without padding."""
        return sum(len(w) for w in self.waveforms) / self.sampling_rate

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, texts and recordings."""
        return fingerprint(self.utterances)

    def sample(self, count: int) -> list[NDArray[np.float32]]:
        """At most ``count`` waveforms of every length, the shortest first."""
        by_length = sorted(self.waveforms, key=len)
        count = min(count, len(by_length))
        return [by_length[int((i + 0.5) * len(by_length) / count)] for i in range(count)]

    def waveforms_of(self, batch: Sequence[int]) -> list[NDArray[np.float32]]:
        """Waveforms of the utterances in one batch."""
        return [self.waveforms[i] for i in batch]

    def batch_key(self, batch: Sequence[int]) -> str:
        """SHA-256 of a batch's audio, in its order: its results belong to the batch."""
        hasher = hashlib.sha256()
        for i in batch:
            hasher.update(np.ascontiguousarray(self.waveforms[i]).tobytes() + b"|")
        return hasher.hexdigest()


def batches_of(
    waveforms: Sequence[NDArray[np.float32]],
    sampling_rate: int,
    batch_size: int,
    batch_seconds: float,
    window: float,
    alike: float = 0.0,
) -> tuple[tuple[int, ...], ...]:
    """Indices of ``waveforms`` in batches of similar length; arguments as `Speech` and `batching.batches` have them."""
    lengths = [max(len(w), int(window * sampling_rate)) for w in waveforms]
    return tuple(
        map(tuple, batching.batches(lengths, batch_size, max(1, int(batch_seconds * sampling_rate)), alike=alike))
    )
