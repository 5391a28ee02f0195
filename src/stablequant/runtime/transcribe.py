"""Transcribe many recordings in batches of similar length."""

from __future__ import annotations

from stablequant.data.speech import Speech
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
