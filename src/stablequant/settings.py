"""Settings of a quantisation: frozen, validated, in the groups that rooms read, written into the plan as they were used.

Each setting has one default, here. On the command line and in Python a setting may be named with its group
(``search.gamma``) or without; a name without its group sets it in every group that has one of that name (``bits``).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stablequant.errors import SettingsError
from stablequant.widths import in_words

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


#: Values of p at most: each is a trial on all dev speech, and the paper's search has 51.
MOST_CANDIDATES = 10_000
#: A day of audio; padded to that length one batch takes more memory than any machine has.
MOST_SECONDS = 86_400.0
#: How much of the window that a model pads recordings to is computed.
Window = Literal["full", "audio"]
#: Characters of a value that a message repeats.
_LONGEST_VALUE = 100

#: What settings were called before they had groups; plans of that time are still read.
RENAMED = {
    "base_calibrator": "activations.calibrator",
    "grid": "search.p_spacing",
    "search": "search.strategy",
    "weight_granularity": "weights.granularity",
    "weight_method": "weights.range",
}


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(_Group):
    """How speech is read, divided and compared."""

    task: str = "recognition"
    """What answers are scored for: a registered task."""
    normalizer: Literal["auto", "english", "basic", "turkish", "none"] = "auto"
    """What counts as the same word; auto: by the language."""
    language: str | None = None
    """Of the speech, and of its transcripts unless it is translated: an ISO 639 code; null: told from the transcripts, and by
    a model that hears several from each recording."""
    translate: bool = False
    """Ask for English instead of a transcript, of a model that can translate."""
    window: Window = "full"
    """Of a model that pads recordings to a window (Whisper, 30 s): compute all of it, or what the audio and some silence take."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Of the division into splits, of the draw of calibration speech, and of the races."""
    max_bad_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of recordings that may be unusable and are skipped."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Most utterances in one batch."""
    batch_seconds: Annotated[float, Field(gt=0, le=MOST_SECONDS)] = 40.0
    """Most padded audio in one batch."""
    calibration_utterances: Annotated[int, Field(ge=1)] = 256
    """At most this many, drawn with the seed."""

    @property
    def written(self) -> str | None:
        """Language of the transcripts."""
        return "en" if self.translate else self.language


class ActivationSettings(_Group):
    """The grids of activations."""

    bits: Annotated[int, Field(ge=2, le=16)] = 8
    """Of a code; 16: the inputs of linear layers stay in float."""
    convolutions: Annotated[int, Field(ge=2, le=8)] = 8
    """Of a code of a convolution's input (recipes that choose a form for each layer; others have one width for all)."""
    scales: Literal["calibrated", "frame"] = "calibrated"
    """One for all speech, from calibration; or one a frame, computed when the layer runs (needs strategy none)."""
    decoder: Literal["same", "block"] = "same"
    """Linear layers that run step by step: as all others, or with a scale a block of input and weights (see docs/recipes.md)."""
    symmetric: bool = True
    """Zero point 0 (the paper's); false gives each activation its own zero point."""
    calibrator: str = "mse"
    """For layers that are not flagged."""
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    """Of the calibrator "percentile", as a baseline and in stage 1."""
    removed: Literal["drop", "fold"] = "drop"
    """What becomes of the mass beyond the cut-off: left out of the error, or piled up on the cut-off."""
    planes: Annotated[int, Field(ge=1, le=2)] = 1
    """Codes that carry an activation of a flagged layer; of two, the second is a residual code: what the first leaves over."""
    attention_matmuls: bool = False
    """Quantise attention's two products of activations as well."""


class WeightSettings(_Group):
    """The grids of weights."""

    fold: Literal["none", "smooth", "awq"] = "none"
    """Rewrite them exactly before anything is rounded, by factors a channel that move what is hard to round from what layers read
    to their weights: SmoothQuant's (not done where activations stay in float), or AWQ's."""
    bits: Annotated[int, Field(ge=2, le=8)] = 8
    """Of a code."""
    group: Annotated[int, Field(ge=2)] | None = None
    """Inputs of an output channel that share a scale, in linear layers, and so do as many of their inputs when they run; null: as
    the granularity has it."""
    step_bits: Annotated[int, Field(ge=2, le=8)] | None = None
    """``bits`` of linear layers that run step by step; null: those of all others."""
    step_group: Annotated[int, Field(ge=2)] | None = None
    """``group`` of linear layers that run step by step; null: that of all others."""
    convolutions: Annotated[int, Field(ge=2, le=8)] = 8
    """``bits`` of convolutions (recipes that choose a form for each layer; others have one width for all)."""
    granularity: Literal["channel", "tensor"] = "channel"
    """One scale an output channel, or one a tensor."""
    range: Literal["max", "mse"] | None = None
    """The scale covers the largest magnitude, or has the least squared error; null: the least error below 8 bits, else the
    largest."""
    rounding: Literal["nearest", "gptq", "adaround"] = "nearest"
    """To the nearest code, or so that the layer's output on calibration speech changes little."""
    iterations: Annotated[int, Field(ge=1)] = 50
    """Steps of the rounding "adaround"."""
    correct_bias: bool = False
    """Take the mean error that rounding leaves in each output channel on calibration speech off its bias."""


class SearchSettings(_Group):
    """Stage 1, stage 2, and layers left in float."""

    gamma: Annotated[float, Field(ge=0)] = 0.25
    """Stage 1 flags a layer that alone costs more than this, in points."""
    beyond_chance: bool = False
    """Flag a layer only if the 95 % interval of its cost lies above 0 as well; a thousand words err by more than gamma."""
    strategy: Literal["exact", "racing", "allocate", "none"] = "exact"
    """Whether every trial is evaluated on all dev speech, or only on as much as settles it; or each layer gets the cheapest
    scheme that its error allows; or nothing is searched."""
    objective: Literal["task", "divergence"] = "task"
    """What a trial is judged by: the task's error rate, or the divergence from the float model, which needs no labels."""
    divergence_utterances: Annotated[int, Field(ge=1)] = 64
    """At most this many dev utterances, drawn with the seed, where trials are judged by divergence."""
    allowance: Annotated[float, Field(ge=0)] = 0.03
    """Points of error rate, estimated from the divergence, that an allocation may spend on schemes that take less time."""
    cost: Literal["measured", "model"] = "measured"
    """What an allocation knows of time: that of each layer's kernel, measured on this machine, or multiplications."""
    target_bytes: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of float32's bytes that weights may take: within it each layer gets the width that makes the model diverge least."""
    max_divergence: Annotated[float, Field(gt=0)] | None = None
    """Nats a step by which the model may diverge: within it each layer gets the width of fewest bytes."""
    estimate_utterances: Annotated[int, Field(ge=1)] = 32
    """At most this many of those, on which an allocation estimates what each layer's rounding costs."""
    stage1_calibrator: Literal["max", "percentile"] = "max"
    p_max: Annotated[float, Field(ge=0, lt=50)] = 0.5
    p_step: Annotated[float, Field(gt=0)] = 0.01
    """Stage 2 tries p = 0, step, 2 step ... p_max, in per cent of an activation's mass."""
    p_spacing: Literal["paper", "scale"] = "paper"
    """Even steps of p, or as many between the same ends that are even in the scale they lead to."""
    p_per_layer: bool = False
    """After the global p, refine one p a flagged layer (coordinate descent, most sensitive first)."""
    max_drop: Annotated[float, Field(ge=0)] | None = None
    """If the plan costs more than this on the dev speech, in points, layers are left in float until it does not."""
    max_drop_by: Literal["bytes", "multiplications"] = "bytes"
    """What is spared in choosing those layers: bytes, or multiplications in float, which stand for time."""

    @model_validator(mode="after")
    def _few_candidates(self) -> Self:
        """Refuse a step that leads to a search without end."""
        if self.p_max / self.p_step >= MOST_CANDIDATES:
            what = (
                f"p_step {self.p_step:g} makes more than {MOST_CANDIDATES:,} values of p up to p_max {self.p_max:g}; "
                "use a larger p_step or a smaller p_max"
            )
            raise ValueError(what)
        return self

    @property
    def mixed(self) -> bool:
        """Whether each layer gets a width of its own."""
        return self.target_bytes is not None or self.max_divergence is not None

    def candidates(self) -> tuple[float, ...]:
        """The values of p that stage 2 tries, ascending from 0, rounded to six decimals."""
        count = int(self.p_max / self.p_step + 1e-9)
        return tuple(round(i * self.p_step, 6) for i in range(count + 1))


class CheckSettings(_Group):
    """What an exported file must keep to."""

    tolerance: Annotated[float, Field(ge=0)] = 0.1
    """Points by which the file's error rate may differ from the simulation's; never less than two errors."""


class Settings(_Group):
    """How to quantise. Every default is the paper's where the paper says; docs/settings.md tells which others are measured.

    ``Settings(gamma=0.5, planes=2)`` and ``Settings(search=SearchSettings(gamma=0.5))`` both work.
    """

    data: DataSettings = DataSettings()
    activations: ActivationSettings = ActivationSettings()
    weights: WeightSettings = WeightSettings()
    search: SearchSettings = SearchSettings()
    check: CheckSettings = CheckSettings()

    @model_validator(mode="before")
    @classmethod
    def _into_groups(cls, values: Any) -> Any:
        """Put settings that are named without their group where they belong."""
        return grouped(values) if isinstance(values, Mapping) else values

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Settings:
        """Validate ``values``, with or without groups; SettingsError names every setting that is wrong, and what it may be."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            wrong = [_complaint(e) for e in error.errors()]
            raise SettingsError("; ".join(wrong), fix="docs/settings.md lists the settings and their values") from error

    @property
    def fold(self) -> str:
        """The fold that is done: where activations stay in float, smoothing would make weights harder to round for nothing."""
        return "none" if self.weights.fold == "smooth" and self.activations.bits > 8 else self.weights.fold

    def flat(self) -> dict[str, Any]:
        """Every setting's value by its name with group, ``search.gamma``."""
        return {name: getattr(getattr(self, name.split(".")[0]), name.split(".")[1]) for name in NAMES}

    def updated(self, **values: Any) -> Settings:
        """The same with other ``values``, named with or without their group."""
        groups = dict(self)
        new = {
            name: {**dict(groups[name]), **value} if name in groups and isinstance(value, dict) else value
            for name, value in grouped(values).items()
        }
        return Settings.parse({**groups, **new})


def _groups() -> dict[str, type[_Group]]:
    return {name: field.annotation for name, field in Settings.model_fields.items()}  # type: ignore[misc]


#: Every setting, named with its group.
NAMES = tuple(f"{group}.{name}" for group, kind in _groups().items() for name in kind.model_fields)


def resolve(name: str) -> tuple[str, ...]:
    """The settings that ``name`` stands for, with their groups; ``name`` itself where it stands for none."""
    name = RENAMED.get(name, name)
    return tuple(n for n in NAMES if n == name or n.partition(".")[2] == name) or (name,)


def grouped(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in groups from names with or without them; a setting that is named wins over the group that holds it."""
    fields = Settings.model_fields
    values, widths = in_words(values)
    given = {full for name in values for full in resolve(name)}
    values = {**values, **{name: value for name, value in widths.items() if name not in given}}
    result: dict[str, Any] = {n: dict(v) for n, v in values.items() if n in fields and isinstance(v, Mapping | _Group)}
    whole = set(result)
    for name, value in values.items():
        if name in whole:
            continue
        for full in resolve(name):
            group, _, setting = full.partition(".")
            if group not in fields or not setting:
                result[full] = value  # it is refused by its name
            elif isinstance(result.setdefault(group, {}), dict):
                # The unit of this choice was once called "work".
                old = (setting, value) == ("max_drop_by", "work")
                result[group][setting] = "multiplications" if old else value
    return result


def _complaint(error: ErrorDetails) -> str:
    if error["type"] == "value_error":  # about several settings, which it names
        return str(error["ctx"]["error"])
    name = _short(".".join(str(part) for part in error["loc"]))
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, [*NAMES, *(n.partition(".")[2] for n in NAMES), *RENAMED], 1)
        return f"there is no setting {name}" + (f" (did you mean {near[0]}?)" if near else "")
    return f"setting {name} is {_short(repr(error['input']))}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
