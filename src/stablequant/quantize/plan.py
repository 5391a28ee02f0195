"""The plan: which layers are quantised, how, and why. The one artefact that every later stage reads.

``plan.json`` is written with one key a line and layers in network order, so that two plans can be compared with diff.
docs/plan.md explains each field.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from stablequant.errors import PlanError
from stablequant.files import json_value, write_text
from stablequant.grid.affine import QuantParams
from stablequant.grid.frame import PerFrame
from stablequant.grid.weights import Granularity, PerChannel, PerGroup, PerTensor, WeightSpec
from stablequant.quantize.plan_errors import complaint, usable
from stablequant.quantize.scheme import LayerScheme, require_layers
from stablequant.settings import Settings

SCHEMA_VERSION = 2


_REPEAT = "run stablequant quantize again: finished trials are not repeated"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ActivationPlan(_Frozen):
    """Grid of one activation tensor: ``x ~ (q - zero_point) * scale``, q a signed integer of ``bits`` bits."""

    kind: Literal["static"] = "static"
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

    @model_validator(mode="after")
    def _usable(self) -> Self:
        """Refuse a grid that no value can be rounded to."""
        usable(self.params)
        return self

    def params(self) -> QuantParams:
        """The grid as the quantiser wants it."""
        return QuantParams(self.scale, self.zero_point, self.bits, self.planes)


class FramePlan(_Frozen):
    """An activation with a scale for each frame, computed when the layer runs (grid/frame.py)."""

    kind: Literal["per_frame"] = "per_frame"
    bits: int
    shift: float | None
    """Added before rounding, where the values are never below its negative; None: a symmetric grid."""
    minimum: float
    maximum: float
    """Exact extremes seen in calibration."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        """Refuse a grid that no value can be rounded to."""
        usable(self.params)
        return self

    def params(self) -> PerFrame:
        """The grid as the quantiser wants it."""
        return PerFrame(self.bits, self.shift)


def _kind(activation: Any) -> Any:
    """Which of the two an activation of a plan is; one that does not say so is static, as all of earlier releases are."""
    return activation.get("kind", "static") if isinstance(activation, dict) else getattr(activation, "kind", None)


#: How an activation is rounded, told apart by ``kind``, so that an error is told of the one that was meant.
_Activation = Annotated[
    Annotated[ActivationPlan, Tag("static")] | Annotated[FramePlan, Tag("per_frame")], Discriminator(_kind)
]


class WeightPlan(_Frozen):
    """Symmetric grid of the weights; scales follow from the weights and these, and so do codes that are the nearest."""

    bits: int
    per: Literal["tensor", "channel", "group"]
    """What has a scale of its own: all weights, an output channel, or a group of one's inputs."""
    group: Annotated[int, Field(ge=1)] | None = None
    """Weights in a group."""
    range: Literal["max", "mse"]
    rounding: Literal["nearest", "gptq"] = "nearest"
    """gptq: the codes depend on calibration speech, and lie in weights.safetensors."""
    correct_bias: bool = False
    """Whether the bias has a correction, which lies there too."""

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        """Refuse a group without a size, and a size without a group: one of the two would be ignored."""
        if (self.per == "group") != (self.group is not None):
            what = f"per is {self.per}, group is {self.group}"
            raise ValueError(what)
        usable(self.spec)
        return self

    @classmethod
    def of(cls, spec: WeightSpec) -> WeightPlan:
        """A spec as it stands in the plan."""
        group = spec.per.size if isinstance(spec.per, PerGroup) else None
        per: Literal["tensor", "channel"] = "tensor" if isinstance(spec.per, PerTensor) else "channel"
        return cls(
            bits=spec.bits,
            per=per if group is None else "group",
            group=group,
            range=spec.range,
            rounding=spec.rounding,
            correct_bias=spec.correct_bias,
        )

    def spec(self) -> WeightSpec:
        """The spec as the quantiser wants it."""
        per: Granularity = PerTensor() if self.per == "tensor" else PerChannel()
        per = per if self.group is None else PerGroup(self.group)
        return WeightSpec(self.bits, per, self.range, self.rounding, self.correct_bias)


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
    """Points that the layer alone cost in stage 1."""
    sensitivity_interval: tuple[float, float] | None = None
    """95 % interval of that."""
    reason: str
    activations: tuple[_Activation, ...]
    """Empty where the layer is left in float."""
    weight: WeightPlan | None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Refuse a layer with operands left out, which would stay in float without a word, and a product rounded by frame."""
        activations, weights = (2, 0) if self.kind == "matmul" else (1, 1)
        found = len(self.activations), int(self.weight is not None)
        if found not in ((activations, weights), (0, 0)):
            what = f"{self.name} has grids of {found[0]} activations and {found[1]} weights"
            raise ValueError(what)
        if self.kind == "matmul" and any(isinstance(a, FramePlan) for a in self.activations):
            what = f"{self.name} is a product of activations, which takes static grids alone"
            raise ValueError(what)
        return self

    def scheme(self) -> LayerScheme:
        """How the layer is quantised."""
        return LayerScheme(
            tuple(a.params() for a in self.activations), None if self.weight is None else self.weight.spec()
        )


class Identity(_Frozen):
    """Which model something was made from."""

    name: str
    fingerprint: str
    details: dict[str, Any] = {}


class SpeechIdentity(_Frozen):
    """Which speech something was made from."""

    sources: tuple[str, ...]
    """Manifests and folders, as the user gave them."""
    fingerprint: str
    details: dict[str, Any] = {}


class Plan(_Frozen):
    """A complete quantisation of one model."""

    schema_version: int = SCHEMA_VERSION
    model: Identity
    data: dict[str, SpeechIdentity]
    settings: Settings
    versions: dict[str, str]
    p: float | None
    """The one p of all flagged layers; None where no layer is flagged or each has its own."""
    layers: tuple[LayerPlan, ...]

    @model_validator(mode="after")
    def _once(self) -> Self:
        """Refuse a layer that is named twice: only the second would count."""
        names = [layer.name for layer in self.layers]
        if len(set(names)) < len(names):
            twice = next(name for index, name in enumerate(names) if name in names[:index])
            what = f"the layer {twice} stands there twice"
            raise ValueError(what)
        return self

    def scheme(self) -> dict[str, LayerScheme]:
        """What the simulator and the exporter need of it."""
        return {layer.name: layer.scheme() for layer in self.layers if layer.activations}

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
            raw = json_value(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            what = f"{path} is missing"
            raise PlanError(what, expected="a folder written by stablequant quantize") from error
        except OSError as error:
            what = f"{path} cannot be read ({error.strerror or error})"
            raise PlanError(what, fix="check the file and its permissions") from error
        except ValueError as error:
            what = f"{path} is not valid JSON ({error})"
            raise PlanError(what, fix=_REPEAT) from error
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if version == 1:
            raw = _from_version_1(raw)
        elif version != SCHEMA_VERSION:
            what = f"{path} has schema version {str(version)[:40]}"
            raise PlanError(what, expected=f"version 1 to {SCHEMA_VERSION}", fix=_REPEAT)
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            what = f"{path}: {complaint(error, raw)}"
            raise PlanError(what, fix=_REPEAT) from error


def _from_version_1(raw: dict[str, Any]) -> dict[str, Any]:
    """A plan of the first version as one of this: sources were joined, weights had other words. Settings find their groups."""
    new = {**raw, "schema_version": SCHEMA_VERSION}
    if isinstance(raw.get("data"), dict):
        new["data"] = {split: _sources(identity) for split, identity in raw["data"].items()}
    if isinstance(raw.get("layers"), list):
        new["layers"] = [_weight_words(layer) for layer in raw["layers"]]
    return new


def _sources(identity: Any) -> Any:
    if not isinstance(identity, dict) or not isinstance(identity.get("name"), str):
        return identity
    return {**{k: v for k, v in identity.items() if k != "name"}, "sources": identity["name"].split(", ")}


def _weight_words(layer: Any) -> Any:
    weight = layer.get("weight") if isinstance(layer, dict) else None
    if not isinstance(weight, dict):
        return layer
    words = {"granularity": "per", "method": "range"}
    return {**layer, "weight": {words.get(key, key): value for key, value in weight.items()}}
