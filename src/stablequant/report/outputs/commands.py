"""What inspect, export, benchmark, trials, recipes and report print with ``--json``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from stablequant.report.outputs.parts import Amount, Count, Machine, Output


class OperationRow(Output):
    """An operation that can be quantised."""

    name: str
    graph: str
    kind: str
    shape: list[int]
    parameters: Count


class FloatRow(Output):
    """Operations of one kind that stay in float, and why."""

    kind: str
    count: Count
    reason: str


class Inspection(Output):
    """``inspect --json``: operations of a model, and its bytes in float and int8."""

    model: str
    family: str
    language: str | None
    class_: str = Field(alias="class")
    fingerprint: str
    parameters: Count
    parameters_int8: Count
    float_bytes: Count
    int8_bytes: Count
    notes: list[str]
    ops: list[OperationRow]
    float: list[FloatRow]


class ParityRow(Output):
    """Logits of one way of running a plan, compared with another's."""

    subject: str
    reference: str
    difference: Amount
    limit: Amount
    passed: bool


class Export(Output):
    """``export --target T --json``: files, and how they were checked; runtime is null where the target cannot be run."""

    model: str
    target: str
    files: list[str]
    bytes: Count
    bytes_ratio: Amount
    runtime: str | None
    checks: list[ParityRow]


class Layout(Output):
    """``export --layout L --json``: files as another program reads them."""

    model: str
    layout: str
    files: list[str]


class SystemCost(Output):
    """What it costs to have one set of files loaded in one runtime."""

    name: str
    runtime: str
    int8: bool
    bytes: Count
    load_seconds: Amount
    idle_rss_bytes: Count
    peak_rss_bytes: Count


class SystemSpeed(Output):
    """The speed of one system; speedup is over the fastest float32."""

    name: str
    seconds: Amount
    fastest: Amount
    slowest: Amount
    real_time_factor: Amount
    speedup: Amount


class Case(Output):
    """Audio of one length, in batches of one size, on one number of threads."""

    seconds: Amount | Literal["real"]
    batch: Count
    threads: Count
    audio_seconds: Amount
    decoder_steps: Count
    best_float: str
    systems: list[SystemSpeed]


class Benchmark(Output):
    """``benchmark --json``: speeds case by case, and the cost of each system."""

    model: str
    rounds: Count
    machine: Machine
    systems: list[SystemCost]
    cases: list[Case]


class FinishedTrial(Output):
    """Trials of one label."""

    label: str
    batches: Count
    utterances: Count
    seconds: Amount


class Trials(Output):
    """``trials --json``: finished trials of a search, the costliest first."""

    folder: str
    trials: list[FinishedTrial]


class RecipeRow(Output):
    """A bundle of settings."""

    name: str
    settings: dict[str, Any]
    about: str


class Recipes(Output):
    """``recipes --json``: bundles of settings for quantize."""

    recipes: list[RecipeRow]


class Report(Output):
    """``report --json``: the page that was written."""

    folder: str
    report: str
    bytes: Count


class Tracked(Output):
    """``track --json``: what was logged of a run, and under which name."""

    folder: str
    to: str
    experiment: str
    run: str
    parameters: dict[str, str]
    metrics: dict[str, float]
    files: list[str]


class SchemaRow(Output):
    """The name of a schema, and what it is of."""

    name: str
    about: str


class Schemas(Output):
    """``schema --json``: the schemas there are."""

    schemas: list[SchemaRow]
