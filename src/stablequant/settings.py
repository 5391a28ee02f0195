"""Settings of a quantisation: frozen, validated, written into the plan as they were used."""

from __future__ import annotations

import difflib
import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stablequant.errors import SettingsError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

CalibratorName = Literal["max", "percentile", "mse", "entropy"]


class Settings(BaseModel):
    """How to quantise. Every default is the paper's where the paper says; docs/performance.md tells which others are measured."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bits: Annotated[int, Field(ge=2, le=8)] = 8
    """Of weights and activations alike; files can be exported at 8."""
    symmetric: bool = True
    """Activations with zero point 0 (the paper's); False gives each its own zero point."""
    attention_matmuls: bool = False
    """Also quantise attention's two products of activations."""
    weight_granularity: Literal["channel", "tensor"] = "channel"
    weight_method: Literal["max", "mse"] = "max"

    gamma: Annotated[float, Field(ge=0)] = 0.25
    """Stage 1 flags a layer that alone costs more than this, in points of WER."""
    beyond_chance: bool = False
    """Flag a layer only if the 95 % interval of its cost lies above 0 as well; a thousand words err by more than gamma."""
    search: Literal["exact", "racing"] = "exact"
    """Whether every trial hears all dev speech, or only as much as settles it; see docs/search.md."""
    stage1_calibrator: Literal["max", "percentile"] = "max"
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    """Of the calibrator "percentile", as naive method and in stage 1."""
    base_calibrator: CalibratorName = "mse"
    """For layers that are not flagged."""
    p_max: Annotated[float, Field(ge=0, lt=50)] = 0.5
    p_step: Annotated[float, Field(gt=0)] = 0.01
    """Stage 2 tries p = 0, step, 2 step ... p_max, in per cent of an activation's mass."""
    grid: Literal["paper", "scale"] = "paper"
    """Even steps of p, or as many between the same ends that are even in the scale they lead to."""
    p_per_layer: bool = False
    """After the global p, refine one p a flagged layer (coordinate descent, most sensitive first)."""
    removed: Literal["drop", "fold"] = "drop"
    """What becomes of the mass beyond the cut-off: left out of the error, or piled up on the cut-off."""
    planes: Annotated[int, Field(ge=1, le=2)] = 1
    """Codes that carry an activation of a flagged layer; of two, the second holds the first one's remainder."""
    max_drop: Annotated[float, Field(ge=0)] | None = None
    """If the plan costs more than this on the dev speech, in points of WER, layers are left in float until it does not."""
    max_drop_by: Literal["bytes", "work"] = "bytes"
    """What is spared in choosing those layers: bytes, or multiplications in float, which stand for time."""

    normalizer: Literal["english", "basic", "none"] = "english"
    seed: int = 0
    max_bad_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01
    batch_size: Annotated[int, Field(ge=1)] = 16
    batch_seconds: Annotated[float, Field(gt=0)] = 40.0
    """Most padded audio in one batch."""
    calibration_utterances: Annotated[int, Field(ge=1)] = 256
    """At most this many, drawn with the seed."""
    tolerance: Annotated[float, Field(ge=0)] = 0.1
    """Most WER, in points, that the exported file may differ from the simulation; never less than two words."""

    def candidates(self) -> tuple[float, ...]:
        """The values of p that stage 2 tries, ascending from 0, rounded to six decimals."""
        count = int(self.p_max / self.p_step + 1e-9)
        return tuple(round(i * self.p_step, 6) for i in range(count + 1))

    def fingerprint(self) -> str:
        """A stable hash of all settings."""
        return digest(self.model_dump(mode="json"))

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Settings:
        """Validate ``values``; SettingsError names every setting that is wrong, and what it may be."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            wrong = [cls._complaint(str(e["loc"][0]), e) for e in error.errors()]
            raise SettingsError("; ".join(wrong), fix="docs/settings.md lists the settings and their values") from error

    @classmethod
    def _complaint(cls, name: str, error: ErrorDetails) -> str:
        if name not in cls.model_fields:
            near = difflib.get_close_matches(name, cls.model_fields, 1)
            return f"there is no setting {name}" + (f" (did you mean {near[0]}?)" if near else "")
        return f"setting {name} is {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, independent of key order and spacing."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
