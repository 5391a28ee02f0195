"""How a layer is quantised: the grid of each activation and of its weight.

Candidates of a search, plans, the simulator and the exporter read this and nothing beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stablequant.errors import PlanError
from stablequant.grid.affine import QuantParams
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import ActivationSpec
from stablequant.grid.unrounded import Unrounded
from stablequant.grid.weights import Granularity, PerChannel, PerGroup, PerTensor, WeightSpec
from stablequant.network.graph import Node
from stablequant.settings import WeightSettings


@dataclass(frozen=True)
class LayerScheme:
    """A layer with integer operands.

    Attributes:
        activations: How each is rounded, static grid, or a scale a frame or a block: one, or two for a product of activations.
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
    found = {**asdict(spec), "per": {"name": type(spec.per).__name__, **asdict(spec.per)}}
    if spec.rounding != "adaround":
        del found["iterations"]  # nothing comes of it
    return found


def weight_spec(settings: WeightSettings) -> WeightSpec:
    """The spec that settings ask for; scales of codes below 8 bits have the least squared error, if nothing else is asked for."""
    per: Granularity = PerTensor() if settings.granularity == "tensor" else PerChannel()
    per = per if settings.group is None else PerGroup(settings.group)
    ends = settings.range or ("mse" if settings.bits < 8 else "max")
    return WeightSpec(settings.bits, per, ends, settings.rounding, settings.correct_bias, settings.iterations)


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


def misfit(node: Node, layer: LayerScheme) -> tuple[str, str] | None:
    """What a layer's scheme has that its operation cannot have, and what it can; ``None`` if all is well."""
    for spec in layer.activations:
        if isinstance(spec, PerBlock) and node.kind != "linear":
            return "a scale a block", "a scale a block for linear layers alone"
        if isinstance(spec, PerBlock) and (layer.weight is None or layer.weight.per != PerGroup(spec.size)):
            what = f"a scale for every {spec.size} inputs and weights in other groups"
            return what, "a scale for each block of weights that a block of inputs is multiplied by"
        if isinstance(spec, Unrounded) and node.kind != "linear":
            return "an input in float", "an input in float for linear layers alone, or a layer that the plan leaves out"
        if not isinstance(spec, QuantParams) and not in_rows(node):
            expected = "a static grid for a product of activations and for a padded or grouped convolution"
            return "a scale a frame", expected
    return None


def require_rows(scheme: Scheme, nodes: Iterable[Node]) -> None:
    """Raise PlanError if ``scheme`` has a scale a frame or a block for one of ``nodes`` that cannot have one."""
    for node in nodes:
        layer = scheme.get(node.name)
        if layer and (wrong := misfit(node, layer)):
            what = f"the plan has {wrong[0]} for {node.name} ({node.kind})"
            raise PlanError(what, expected=wrong[1], fix="quantize this checkpoint again")
