"""What ``drift --json`` and ``clipped --json`` print."""

from __future__ import annotations

from typing import Literal

from stablequant.report.outputs.parts import Amount, Count, Machine, Output, Share


class Limits(Output):
    """The largest value of each statistic that is chance; null where it does not apply."""

    beyond: float | None
    wasserstein: float | None
    psi: float | None


class ActivationRow(Limits):
    """One activation, production compared with calibration."""

    layer: str
    input: Count
    limits: Limits
    exceeds: list[str]


class Divergence(Output):
    """Nats a step by which int8 diverges from float."""

    production: Amount
    calibration: Amount
    limit: Amount
    exceeds: bool


class Calibration(Output):
    """What production was compared with."""

    recordings: Count
    seconds: Amount
    compared_with: Count


class Drift(Output):
    """``drift --json``."""

    folder: str
    model: str
    data: list[str]
    covered: bool
    false_alarms: Share
    recordings: Count
    seconds: Amount
    skipped: Count
    calibration: Calibration
    divergence: Divergence
    activations: list[ActivationRow]
    machine: Machine


class ClippedChannel(Output):
    """How often one channel is clipped."""

    channel: Count
    clipped: Count


class ClippedLayer(Output):
    """What one layer's static grid clips."""

    layer: str
    values: Count
    clipped: Count
    frames: Count
    clipped_frames: Count
    channels: Count
    clipped_channels: Count
    most: list[ClippedChannel]
    in_silence: Share | None
    in_speech: Share | None


class ClippedSpeech(Output):
    """Clipped frames in speech and in silence."""

    in_speech: Share
    in_silence: Share
    speech_of_frames: Share
    speech_of_clipped: Share


class ClippedToken(Output):
    """How often one token is clipped."""

    token: str
    count: Count
    clipped: Share


class ClippedTokens(Output):
    """Clipping by token, and whether it is uneven by more than chance."""

    count: Count
    mean: Share
    p: Share
    shuffles: Count
    kinds: list[ClippedToken]


class ClippedWords(Output):
    """Whether words that went wrong are clipped more."""

    count: Count
    wrong: Count
    clipped_wrong: Share | None
    clipped_right: Share | None
    p: Share | None
    shuffles: Count


class ClippedRun(Output):
    """Counts of one pass."""

    layers: list[ClippedLayer]
    speech: ClippedSpeech | None
    tokens: ClippedTokens | None
    words: ClippedWords | None


class ClippedRuns(Output):
    """In float, and under the plan."""

    before: ClippedRun
    after: ClippedRun


class Clipped(Output):
    """``clipped --json``."""

    folder: str
    model: str
    data: list[str]
    recordings: Count
    seconds: Amount
    skipped: dict[str, str]
    static_layers: Count
    judged: list[str]
    aligned_by: str
    verdict: Literal["phonetics", "noise", "nothing is clipped"]
    runs: ClippedRuns
    machine: Machine
