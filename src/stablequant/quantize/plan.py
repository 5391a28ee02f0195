"""The plan: which layers are quantised, how, and why. The one artefact that every later stage reads.

``plan.json`` is written with one key a line and layers in network order, so that two plans can be compared with diff.
docs/plan.md explains each field.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from stablequant.errors import PlanError
from stablequant.files import json_value, write_text
from stablequant.quantize.plan_errors import complaint
from stablequant.quantize.plan_grids import ActivationPlan, AnyActivation, BlockPlan, Frozen, WeightPlan
from stablequant.quantize.plan_version_1 import from_version_1
from stablequant.quantize.scheme import LayerScheme, require_layers
from stablequant.settings import Settings

SCHEMA_VERSION = 2


_REPEAT = "run stablequant quantize again: finished trials are not repeated"


class OptionPlan(Frozen):
    """A scheme that a layer could have had, as an allocation saw it."""

    scheme: str
    chosen: bool
    divergence: Annotated[float, Field(ge=0)] | None
    """Nats a step that rounding the layer's input so is estimated to cost; None for a product of activations."""
    cost: Annotated[float, Field(ge=0)] | None
    """In time, as a multiple of the layer's cheapest scheme; None for one that was not open to choice."""


class LayerPlan(Frozen):
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
    options: tuple[OptionPlan, ...] = ()
    """What an allocation chose from; the layer's own scheme is among them."""
    activations: tuple[AnyActivation, ...]
    """Empty where the layer is left in float."""
    weight: WeightPlan | None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Refuse operands left out, which would stay in float without a word, and scales that no such layer can have."""
        activations, weights = (2, 0) if self.kind == "matmul" else (1, 1)
        found = len(self.activations), int(self.weight is not None)
        if found not in ((activations, weights), (0, 0)):
            what = f"{self.name} has grids of {found[0]} activations and {found[1]} weights"
            raise ValueError(what)
        if self.kind == "matmul" and any(not isinstance(a, ActivationPlan) for a in self.activations):
            what = f"{self.name} is a product of activations, which takes static grids alone"
            raise ValueError(what)
        sizes = [a.size for a in self.activations if isinstance(a, BlockPlan)]
        if sizes and (self.kind != "linear" or self.weight is None or self.weight.group != sizes[0]):
            what = f"{self.name} has a scale a block, which takes a linear layer with weights in groups of the same {sizes[0]}"
            raise ValueError(what)
        return self

    def scheme(self) -> LayerScheme:
        """How the layer is quantised."""
        return LayerScheme(
            tuple(a.params() for a in self.activations), None if self.weight is None else self.weight.spec()
        )


class Identity(Frozen):
    """Which model something was made from."""

    name: str
    fingerprint: str
    details: dict[str, Any] = {}


class SpeechIdentity(Frozen):
    """Which speech something was made from."""

    sources: tuple[str, ...]
    """Manifests and folders, as the user gave them."""
    fingerprint: str
    details: dict[str, Any] = {}


class Plan(Frozen):
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
            raw = from_version_1(raw)
        elif version != SCHEMA_VERSION:
            what = f"{path} has schema version {str(version)[:40]}"
            raise PlanError(what, expected=f"version 1 to {SCHEMA_VERSION}", fix=_REPEAT)
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            what = f"{path}: {complaint(error, raw)}"
            raise PlanError(what, fix=_REPEAT) from error
