"""How a plan writes down the grids of a layer: of each activation, and of its weight."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from stablequant.grid.affine import QuantParams
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import ActivationSpec, PerFrame
from stablequant.grid.unrounded import Unrounded
from stablequant.grid.weights import ITERATIONS, Granularity, PerChannel, PerGroup, PerTensor, WeightSpec
from stablequant.quantize.plan_errors import usable


class Frozen(BaseModel):
    """A part of a plan: nothing in it changes, and nothing unknown is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _Grid(Frozen):
    """How one activation is rounded."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        """Refuse a grid that no value can be rounded to."""
        usable(self.params)
        return self

    @abstractmethod
    def params(self) -> ActivationSpec:
        """The grid as the quantiser wants it."""


class ActivationPlan(_Grid):
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

    def params(self) -> QuantParams:
        """The grid as the quantiser wants it."""
        return QuantParams(self.scale, self.zero_point, self.bits, self.planes)


class FramePlan(_Grid):
    """An activation with a scale for each frame, computed when the layer runs (grid/frame.py)."""

    kind: Literal["per_frame"] = "per_frame"
    bits: int
    shift: float | None
    """Added before rounding, where the values are never below its negative; None: a symmetric grid."""
    minimum: float
    maximum: float
    """Exact extremes seen in calibration."""

    def params(self) -> PerFrame:
        """The grid as the quantiser wants it."""
        return PerFrame(self.bits, self.shift)


class BlockPlan(_Grid):
    """An activation with a scale for each block of a row's channels, computed when the layer runs (grid/block.py)."""

    kind: Literal["per_block"] = "per_block"
    bits: int
    size: int
    """Channels in a block; the layer's weights have groups of the same size."""
    minimum: float
    maximum: float
    """Exact extremes seen in calibration."""

    def params(self) -> PerBlock:
        """The grid as the quantiser wants it."""
        return PerBlock(self.bits, self.size)


class FloatPlan(_Grid):
    """An activation that stays in float; the weights alone are integers."""

    kind: Literal["float"] = "float"
    minimum: float
    maximum: float
    """Exact extremes seen in calibration."""

    def params(self) -> Unrounded:
        """The grid as the quantiser wants it: none."""
        return Unrounded()


def _kind(activation: Any) -> Any:
    """Which of these an activation of a plan is; one that does not say so is static, as all of earlier releases are."""
    return activation.get("kind", "static") if isinstance(activation, dict) else getattr(activation, "kind", None)


#: How an activation is rounded, told apart by ``kind``, so that an error is told of the one that was meant.
AnyActivation = Annotated[
    Annotated[ActivationPlan, Tag("static")]
    | Annotated[FramePlan, Tag("per_frame")]
    | Annotated[BlockPlan, Tag("per_block")]
    | Annotated[FloatPlan, Tag("float")],
    Discriminator(_kind),
]


class WeightPlan(Frozen):
    """Symmetric grid of the weights; scales follow from the weights and these, and so do codes that are the nearest."""

    bits: int
    per: Literal["tensor", "channel", "group"]
    """What has a scale of its own: all weights, an output channel, or a group of one's inputs."""
    group: Annotated[int, Field(ge=1)] | None = None
    """Weights in a group."""
    range: Literal["max", "mse"]
    rounding: Literal["nearest", "gptq", "adaround"] = "nearest"
    """gptq, adaround: the codes depend on calibration speech, and lie in weights.safetensors."""
    iterations: Annotated[int, Field(ge=1)] | None = None
    """Steps of adaround."""
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
            iterations=spec.iterations if spec.rounding == "adaround" else None,
            correct_bias=spec.correct_bias,
        )

    def spec(self) -> WeightSpec:
        """The spec as the quantiser wants it."""
        per: Granularity = PerTensor() if self.per == "tensor" else PerChannel()
        per = per if self.group is None else PerGroup(self.group)
        steps = self.iterations or ITERATIONS
        return WeightSpec(self.bits, per, self.range, self.rounding, self.correct_bias, steps)
