"""What ``evaluate --json`` and ``transcribe --json`` print."""

from __future__ import annotations

from stablequant.report.outputs.parts import (
    Amount,
    Breakdown,
    Bucket,
    Count,
    Edges,
    Ends,
    Figures,
    Machine,
    Note,
    Output,
    Regression,
)


class Transcript(Output):
    """One recording."""

    id: str
    reference: str
    hypothesis: str
    cut_off: bool
    repeats: bool
    pieces: Count


class UnderCondition(Figures):
    """One model under a condition."""

    cut_off: Count
    float_rate: float | None = None
    delta: float | None = None
    delta_interval: Ends | None = None


class InSilence(Output):
    """One model where nothing is said."""

    metric: str
    words: Count
    with_words: Count
    cut_off: Count
    rate: Amount
    rate_interval: Ends
    float_rate: float | None = None
    delta: float | None = None
    delta_interval: Ends | None = None


class Condition(Output):
    """Both models under a condition, and where errors are; not in silence."""

    condition: str
    about: str
    utterances: Count
    seconds: Amount
    float: UnderCondition | InSilence | None
    int8: UnderCondition | InSilence | None
    alarms: list[str]
    fewest_units: Count | None = None
    buckets: dict[str, list[Bucket]] | None = None
    edges: Edges | None = None
    regressions: list[Regression] | None = None


class Evaluation(Figures, Breakdown):
    """``evaluate --json``; divergence is of speech without text."""

    model: str
    runtime: str
    data: list[str]
    split: str
    divergence: float | None = None
    divergence_error: float | None = None
    cut_off: Count
    repeats: Count
    in_pieces: Count
    skipped: dict[str, str]
    notes: list[Note]
    machine: Machine
    conditions: list[Condition]
    transcripts: list[Transcript]


class TranscribedPart(Output):
    """The text of one piece, from and to in seconds."""

    start: Amount
    end: Amount
    text: str


class TranscribedFile(Output):
    """The text of one file."""

    file: str
    text: str
    cut_off: bool
    repeats: bool
    pieces: Count
    parts: list[TranscribedPart]
    finished: bool
    segments: list[TranscribedPart] | None = None


class Transcription(Output):
    """``transcribe --json``."""

    model: str
    runtime: str
    transcripts: list[TranscribedFile]
    skipped: dict[str, str]
    notes: list[Note]
    left_out: list[Note]
