"""summary.json, utterances.jsonl and manifest.json of a run."""

from __future__ import annotations

from typing import Any, Literal

from stablequant.report.outputs.parts import (
    Amount,
    Breakdown,
    Compared,
    Count,
    Ends,
    Figures,
    Machine,
    Note,
    Output,
    Share,
)


class ModelRow(Output):
    """What was quantised."""

    name: str
    family: str
    fingerprint: str
    float_bytes: Count


class SpeechRow(Output):
    """Which speech a split is."""

    sources: list[str]
    fingerprint: str
    details: dict[str, Any]


class Data(Output):
    """The speech, by split, and what was odd about it."""

    calibration: SpeechRow
    dev: SpeechRow
    test: SpeechRow
    references: Literal["text", "float32"]
    normalizer: str
    skipped: dict[str, dict[str, str]]
    notes: list[Note]


class Method(Compared):
    """A method; of the paper's scheme also how it was found."""

    p: float | None = None
    flagged: list[str] | None = None
    objective: str | None = None
    tried: Count | None = None
    utterances_searched: Count | None = None
    evaluations: Amount | None = None
    seconds: Amount | None = None


class File(Compared):
    """The exported files; differences to simulation are of the error rate, or without text of words unlike float's."""

    bytes: Count
    bytes_ratio: Amount
    speedup: Amount
    speed_seconds: dict[str, list[float]]
    runtime: str
    wer_difference_to_simulation: float | None = None
    wer_difference_to_unoptimised: float | None = None
    wer_difference_limit: float | None = None
    difference_to_simulation: float | None = None
    difference_to_unoptimised: float | None = None
    difference_limit: float | None = None
    transcripts_identical_to_simulation: Share
    transcripts_identical_to_unoptimised: Share


class Check(Output):
    """The files compared with a reference."""

    reference: str
    identical: Share
    difference: float
    interval: Ends
    limit: Amount
    passed: bool


class TrialRow(Output):
    """One value of p."""

    p: Amount
    rate: float
    interval: Ends | None
    share: Share


class PCurve(Output):
    """Stage 2 with one p for all layers, or with that of one."""

    layer: str | None
    chosen: Amount
    float: Amount
    trials: list[TrialRow]


class Dev(Output):
    """The dev speech that was searched on."""

    float_wer: float | None = None
    words: Count
    utterances: Count
    resolution: float | None


class SearchCost(Output):
    """What the search took."""

    mode: str
    objective: str
    evaluations: Amount
    stage_1: Amount
    stage_2: Amount
    naive: Count
    seconds: Amount


class BudgetRow(Output):
    """The best choice of widths within some bytes: its share of float32's, and its estimated nats a step."""

    bytes_ratio: Amount
    estimate: Amount
    chosen: bool


class AllocationRow(Output):
    """What an allocation chose."""

    schemes: dict[str, int]
    allowance: float | None
    within: str
    divergence: float
    divergence_most_accurate: float
    budgets: list[BudgetRow] = []


class Summary(Breakdown):
    """summary.json, and what ``quantize --json`` prints."""

    schema_version: Literal[1]
    model: ModelRow
    data: Data
    float: Figures
    methods: dict[str, Method]
    int8_file: File
    checks: list[Check]
    warnings: list[str]
    flagged: list[str]
    p: Amount | dict[str, Amount] | None
    p_curves: list[PCurve]
    gamma: Amount
    dev: Dev
    search: SearchCost
    allocation: AllocationRow | None
    ops: Count
    ops_int8: Count
    ops_float: list[str]
    widths: str
    weight_bits: Amount
    seconds: dict[str, Amount]
    machine: Machine
    versions: dict[str, str]
    command: str


class UtteranceRow(Output):
    """A line of utterances.jsonl: a recording of the test speech, errors by method, and the texts of float and file."""

    id: str
    text: str
    units: Amount
    errors: dict[str, Amount]
    float: str
    int8_file: str


class Entry(Output):
    """A file that belongs to a run."""

    sha256: str
    bytes: Count


class Manifest(Output):
    """manifest.json."""

    schema_version: Literal[1]
    plan: str
    files: dict[str, Entry]
