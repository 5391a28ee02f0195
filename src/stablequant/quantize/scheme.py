"""How a layer is quantised: the grid of each activation and of its weight.

Candidates of a search, plans, the simulator and the exporter read this and nothing beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stablequant.errors import PlanError
from stablequant.grid.frame import ActivationSpec, PerFrame
from stablequant.grid.weights import PerChannel, PerTensor, WeightSpec
from stablequant.network.graph import Node
from stablequant.settings import WeightSettings


@dataclass(frozen=True)
class LayerScheme:
    """A layer with integer operands.

    Attributes:
        activations: How each is rounded, on a static grid or with a scale a frame: one, or two for a product of activations.
        weight: How the weight is quantised; ``None`` for a product of activations.
    """

    activations: tuple[ActivationSpec, ...]
    weight: WeightSpec | None

    def identity(self) -> list[Any]:
        """All of it as JSON holds it, for keys of results."""
        return [
            [[type(a).__name__, asdict(a)] for a in self.activations],
            None if self.weight is None else weight_identity(self.weight),
        ]


#: Layer name -> how it is quantised. A layer that is not named stays in float.
Scheme = Mapping[str, LayerScheme]


def weight_identity(spec: WeightSpec) -> dict[str, Any]:
    """A spec as JSON holds it, its granularity by name."""
    return {**asdict(spec), "per": {"name": type(spec.per).__name__, **asdict(spec.per)}}


def weight_spec(settings: WeightSettings) -> WeightSpec:
    """The spec that settings ask for."""
    per = PerTensor() if settings.granularity == "tensor" else PerChannel()
    return WeightSpec(settings.bits, per, settings.range, settings.rounding, settings.correct_bias)


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


def in_rows(node: Node) -> bool:
    """Whether an operation multiplies rows by one matrix: a linear layer, or a convolution over windows that lie inside.

    Only such an operation can have a scale a frame: its rows are all that its result depends on, one each.
    """
    if node.kind == "conv1d":
        a = node.attrs
        return bool(a["groups"] == 1 and a["padding"] == 0 and a["trim"] == 0)
    return node.kind == "linear"


def require_rows(scheme: Scheme, nodes: Iterable[Node]) -> None:
    """Raise PlanError if ``scheme`` has a scale a frame for one of ``nodes`` that cannot have one."""
    for node in nodes:
        layer = scheme.get(node.name)
        if layer and any(isinstance(a, PerFrame) for a in layer.activations) and not in_rows(node):
            what = f"the plan has a scale a frame for {node.name} ({node.kind})"
            expected = "a static grid for a product of activations and for a padded or grouped convolution"
            raise PlanError(what, expected=expected, fix="quantize this checkpoint again")
