"""Transcribe many recordings in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable

from stablequant.data.speech import Speech
from stablequant.families.frontend import Frontend, Transcript
from stablequant.heads.greedy import Backend


def transcribe(
    frontend: Frontend,
    backend: Backend,
    speech: Speech,
    progress: Callable[[str, int, int], None] = lambda title, done, total: None,
    title: str = "transcribing",
) -> tuple[Transcript, ...]:
    """One transcript an utterance, in the order of ``speech``."""
    found: dict[int, Transcript] = {}
    progress(title, 0, len(speech.shards))
    for done, shard in enumerate(speech.shards, 1):
        found.update(zip(shard, frontend.recognize(backend, speech.batch(shard)), strict=True))
        progress(title, done, len(speech.shards))
    return tuple(found[i] for i in range(len(speech.utterances)))
