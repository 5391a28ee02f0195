"""What ``compare --json`` prints."""

from __future__ import annotations

from stablequant.report.outputs.parts import Amount, Count, Ends, Output


class ComparedRun(Output):
    """One run."""

    folder: str
    model: str
    command: str
    metric: str
    float_rate: Amount
    rate: Amount
    rate_interval: Ends
    delta: float
    delta_interval: Ends
    utterances: Count
    divergence: float | None
    bytes: Count
    bytes_ratio: Amount
    speedup: Amount
    runtime: str
    cpu: str
    seconds: Amount
    widths: str
    weight_bits: Amount
    schemes: dict[str, int]
    flagged: list[str]
    p: Amount | dict[str, Amount] | None


class RunDifference(Output):
    """Points by which a run errs more than the first."""

    folder: str
    against: str
    delta: float
    interval: Ends | None
    note: str


class GivenLayer(Output):
    """What a run gave one layer."""

    scheme: str
    widths: str
    p: float | None
    calibrator: str


class ComparedLayer(Output):
    """A layer whose plans differ; null where a run has none of this name."""

    layer: str
    runs: list[GivenLayer | None]


class Comparison(Output):
    """``compare --json``."""

    runs: list[ComparedRun]
    differences: list[RunDifference]
    layers: list[ComparedLayer]
    layers_alike: Count
