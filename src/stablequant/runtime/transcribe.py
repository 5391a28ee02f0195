"""Transcribe many recordings, or the pieces of long ones as they arrive, in batches of similar length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stablequant.data.pieces import Piece
from stablequant.data.speech import Speech, batches_of
from stablequant.families.frontend import Frontend
from stablequant.heads.head import Answer
from stablequant.network.backend import Backend
from stablequant.progress import Progress, silent


def transcribe(
    frontend: Frontend,
    backend: Backend,
    speech: Speech,
    progress: Progress = silent,
    title: str = "transcribing",
) -> tuple[Answer, ...]:
    """One answer an utterance, in the order of ``speech``."""
    found: dict[int, Answer] = {}
    progress(title, 0, len(speech.batches))
    for done, batch in enumerate(speech.batches, 1):
        found.update(zip(batch, frontend.recognize(backend, speech.waveforms_of(batch)), strict=True))
        progress(title, done, len(speech.batches))
    return tuple(found[i] for i in range(len(speech.utterances)))


#: Batches whose pieces are sorted by length together; their audio is all that is in memory.
POOL = 8


class Heard(NamedTuple):
    """The answer to a piece of the recording ``owner``, which lasts from ``start`` to ``end``, in seconds."""

    owner: int
    start: float
    end: float
    answer: Answer


def transcribe_stream(
    frontend: Frontend,
    backend: Backend,
    pieces: Iterable[tuple[int, Piece]],
    batch_size: int,
    batch_seconds: float,
) -> Iterator[list[Heard]]:
    """Answers to ``pieces``, each with the recording it is of, batch by batch; no more than `POOL` batches are held.

    Pieces are asked for as they are needed. Batches are made as `batching.batches` has it.
    """
    rate, window = frontend.sampling_rate, frontend.bounds.window or 0.0
    pool: list[tuple[int, Piece]] = []
    held = 0.0
    for owner, piece in pieces:
        pool.append((owner, piece))
        held += max(window, len(piece.samples) / rate)
        if held >= POOL * batch_seconds or len(pool) >= POOL * batch_size:
            yield from _batch_by_batch(frontend, backend, pool, batch_size, batch_seconds)
            pool, held = [], 0.0
    yield from _batch_by_batch(frontend, backend, pool, batch_size, batch_seconds)


def _batch_by_batch(
    frontend: Frontend, backend: Backend, pool: list[tuple[int, Piece]], batch_size: int, batch_seconds: float
) -> Iterator[list[Heard]]:
    rate, window = frontend.sampling_rate, frontend.bounds.window or 0.0
    sounds = [piece.samples for _, piece in pool]
    for batch in batches_of(sounds, rate, batch_size, batch_seconds, window):
        answers = frontend.recognize(backend, [sounds[i] for i in batch])
        of_batch = zip([pool[i] for i in batch], answers, strict=True)
        yield [Heard(o, p.start, p.start + len(p.samples) / rate, a) for (o, p), a in of_batch]
