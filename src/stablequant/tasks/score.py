"""Transcripts of some speech, held against what was said."""

from __future__ import annotations

from collections.abc import Sequence

from stablequant.data.speech import Speech
from stablequant.families.frontend import Transcript
from stablequant.tasks.asr import EvaluationResult, evaluate


def score(speech: Speech, transcripts: Sequence[Transcript], normalizer: str) -> EvaluationResult:
    """Error rates of ``transcripts``."""
    return evaluate(
        [u.id for u in speech.utterances],
        [u.text for u in speech.utterances],
        [t.text for t in transcripts],
        normalizer,
    )
