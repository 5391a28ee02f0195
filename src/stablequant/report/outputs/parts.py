"""What several outputs have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: The ends of a 95 % interval.
Ends = tuple[float, float]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
#: Seconds, bytes, sizes.
Amount = Annotated[float, Field(ge=0)]
#: The id of a recording, and a note on it.
Note = tuple[str, str]


class Output(BaseModel):
    """A part of an output: nothing in it changes, and nothing unknown is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(Output):
    """Where times were measured."""

    cpu: str
    cores: int
    features: list[str]


class Figures(Output):
    """An error rate in per cent with what it was counted from; of speech without text words unlike float's."""

    metric: str
    rate: Amount
    rate_interval: Ends
    wer: float | None = None
    wer_interval: Ends | None = None
    cer: float | None = None
    character_difference: float | None = None
    normalizer: str | None = None
    utterances: Count
    words: Count
    substitutions: Count
    deletions: Count
    insertions: Count
    characters: Count
    character_edits: Count
    empty: Count


class Compared(Figures):
    """Figures beside those of float."""

    delta: float
    delta_interval: Ends
    divergence: float | None = None
    divergence_error: float | None = None


class Rated(Output):
    """A rate and, beside float, the difference; absent where there is nothing to count."""

    rate: float | None = None
    rate_interval: Ends | None = None
    float_rate: float | None = None
    delta: float | None = None
    delta_interval: Ends | None = None


class Bucket(Rated):
    """Recordings that have something in common."""

    bucket: str
    utterances: Count
    units: Amount
    few: bool
    substitutions: Count | None = None
    deletions: Count | None = None
    insertions: Count | None = None


class Edge(Rated):
    """Words at one place of all recordings."""

    words: Count
    errors: Count


class Added(Output):
    """Words put before the first or behind the last."""

    words: Count
    float_words: Count | None = None


class Edges(Output):
    """Errors by place; empty where there is no transcript."""

    first: Edge | None = None
    last: Edge | None = None
    elsewhere: Edge | None = None
    added_before: Added | None = None
    added_after: Added | None = None


class Regression(Output):
    """A recording on which int8 errs more than float."""

    id: str
    audio: str | None
    text: str
    float: str
    int8: str
    float_errors: Amount
    int8_errors: Amount


class Breakdown(Output):
    """Where errors are."""

    fewest_units: Count
    buckets: dict[str, list[Bucket]]
    edges: Edges
    regressions: list[Regression]
