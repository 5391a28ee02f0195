"""The plan: which layers are quantised, how, and why. The one artefact that every later stage reads.

``plan.json`` is written with one key a line and layers in network order, so that two plans can be compared with diff.
docs/plan.md explains each field.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from stablequant.errors import PlanError
from stablequant.files import write_text
from stablequant.grid.affine import QuantParams
from stablequant.settings import Settings

SCHEMA_VERSION = 1

#: What a layer is quantised with: parameters of its activation, or of both activations of a product.
LayerQuant = tuple[QuantParams, ...]
#: Layer name -> its parameters. A layer that is not named stays in float.
Scheme = Mapping[str, LayerQuant]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ActivationPlan(_Frozen):
    """Grid of one activation tensor: ``x ~ (q - zero_point) * scale``, q a signed integer of ``bits`` bits."""

    scale: float
    zero_point: int
    bits: int
    minimum: float
    maximum: float
    """Exact extremes seen in calibration, clipped or not."""
    cutoff: float
    """The largest magnitude that the grid represents."""
    planes: Literal[1, 2] = 1
    """Codes that carry a value; of two, the second holds the first one's remainder."""

    def params(self) -> QuantParams:
        """The grid as the quantiser wants it."""
        return QuantParams(self.scale, self.zero_point, self.bits, self.planes)


class WeightPlan(_Frozen):
    """Symmetric grid of the weights; scales follow from the weights by granularity and method."""

    bits: int
    granularity: Literal["channel", "tensor"]
    method: Literal["max", "mse"]


class LayerPlan(_Frozen):
    """One layer and the reason for its settings."""

    name: str
    graph: str
    kind: str
    calibrator: str
    p: float | None
    """Per cent of the activation's mass removed before the scale was chosen; None: nothing was."""
    flagged: bool
    sensitivity: float | None
    """Points of WER that the layer alone cost in stage 1."""
    sensitivity_interval: tuple[float, float] | None = None
    """95 % interval of that."""
    reason: str
    activations: tuple[ActivationPlan, ...]
    """Empty where the layer is left in float."""
    weight: WeightPlan | None


class Identity(_Frozen):
    """Which model, or which speech, something was made from."""

    name: str
    fingerprint: str
    details: dict[str, Any] = {}


class Plan(_Frozen):
    """A complete quantisation of one model."""

    schema_version: int = SCHEMA_VERSION
    model: Identity
    data: dict[str, Identity]
    settings: Settings
    versions: dict[str, str]
    p: float | None
    """The one p of all flagged layers; None where no layer is flagged or each has its own."""
    layers: tuple[LayerPlan, ...]

    def scheme(self) -> dict[str, LayerQuant]:
        """What the simulator and the exporter need of it."""
        return {layer.name: tuple(a.params() for a in layer.activations) for layer in self.layers if layer.activations}

    @property
    def flagged(self) -> tuple[str, ...]:
        """Names of the layers that stage 1 flagged."""
        return tuple(layer.name for layer in self.layers if layer.flagged)

    def check(self, fingerprint: str, names: Iterable[str]) -> None:
        """Raise PlanError unless the plan was made for the model with this fingerprint and these operations."""
        if fingerprint != self.model.fingerprint:
            what = (
                f"the plan was made for {self.model.name} ({self.model.fingerprint[:12]}), not for this checkpoint "
                f"({fingerprint[:12]})"
            )
            raise PlanError(
                what,
                fix="quantize this checkpoint, or give the one the plan was made from",
            )
        require_layers(self.scheme(), names)

    def save(self, path: Path) -> None:
        """Write the plan as JSON, all or nothing."""
        write_text(path, json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read and validate a plan."""
        try:
            raw = json.loads(path.read_text())
        except FileNotFoundError as error:
            what = f"{path} is missing"
            raise PlanError(what, expected="a folder written by stablequant quantize") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            what = f"{path} is not valid JSON ({error})"
            raise PlanError(what, fix="run stablequant quantize again: finished trials are not repeated") from error
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if version != SCHEMA_VERSION:
            what = f"{path} has schema version {version}"
            fix = "run stablequant quantize again: finished trials are not repeated"
            raise PlanError(what, expected=f"version {SCHEMA_VERSION}", fix=fix)
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            what = f"{path}: {where} is wrong ({first['msg']})"
            raise PlanError(what, fix="run stablequant quantize again: finished trials are not repeated") from error


def require_layers(scheme: Scheme, names: Iterable[str]) -> None:
    """Raise PlanError if ``scheme`` names a layer that no operation among ``names`` has: it would be ignored."""
    known = set(names)
    if unknown := sorted(set(scheme) - known):
        more = " ..." if len(unknown) > 5 else ""
        what = f"the plan names {', '.join(unknown[:5])}{more}, which would never run in this model"
        raise PlanError(
            what,
            expected=f"names among the model's {len(known)} operations",
            fix="stablequant inspect MODEL lists them",
        )
