"""The search's findings as a plan, each layer with its reason."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from stablequant.families.model import Op, SpeechModel
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import ActivationSpec, PerFrame
from stablequant.grid.unrounded import Unrounded
from stablequant.observe.collect import Histograms
from stablequant.quantize.plan import Identity, LayerPlan, OptionPlan, Plan, SpeechIdentity
from stablequant.quantize.plan_grids import ActivationPlan, AnyActivation, BlockPlan, FloatPlan, FramePlan, WeightPlan
from stablequant.quantize.scheme import LayerScheme
from stablequant.quantize.weights import WeightStore
from stablequant.search.allocate import Choice
from stablequant.search.fallback import FloatFallback
from stablequant.search.stage1 import Sensitivity
from stablequant.search.stages import Found
from stablequant.settings import Settings

#: Packages whose version can change a number.
PACKAGES = ("stablequant", "torch", "transformers", "onnx", "onnxruntime", "numpy")


def compose(
    model: SpeechModel,
    name: str,
    data: Mapping[str, SpeechIdentity],
    settings: Settings,
    histograms: Histograms,
    found: Found,
    weights: WeightStore,
) -> Plan:
    """Write down what was decided for every quantisable operation of ``model``.

    Args:
        model: What was quantised.
        name: What the user called it.
        data: Identity of the calibration, dev and test speech.
        settings: Of the run.
        histograms: Of every activation.
        found: By the search.
        weights: Of the model, as it was searched.
    """
    measured = {s.name: s for s in found.layers}
    layers = [
        _layer(op, settings, histograms, measured.get(op.name), found, weights)
        for op in model.ops(matmuls=settings.activations.attention_matmuls)
    ]
    values = set(found.stage2.p.values())
    return Plan(
        model=Identity(name=name, fingerprint=model.fingerprint, details=_details(model)),
        data=dict(data),
        settings=settings,
        versions={"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        p=values.pop() if len(values) == 1 else None,
        layers=tuple(layers),
    )


def _details(model: SpeechModel) -> dict[str, str]:
    return {"family": model.family} | ({"language": model.language} if model.language else {})


@dataclass(frozen=True)
class _Why:
    """What the plan says of a layer besides its grids."""

    calibrator: str
    reason: str
    p: float | None = None


def _layer(
    op: Op,
    settings: Settings,
    histograms: Histograms,
    sensitivity: Sensitivity | None,
    found: Found,
    weights: WeightStore,
) -> LayerPlan:
    scheme = found.scheme.get(op.name)
    choice = found.allocation.choices.get(op.name) if found.allocation else None
    if scheme is None and found.floats:
        why = _Why("float", _left_in_float(found.floats, op.name, settings))
    elif choice and scheme:
        why = _chosen(choice, scheme, settings)
    elif sensitivity is None:
        why = _unsearched(scheme, settings)
    else:
        why = _searched(op.name, scheme, settings, sensitivity, found)
    grids = zip(scheme.activations, histograms[op.name], strict=True) if scheme else ()
    return LayerPlan(
        name=op.name,
        graph=op.graph,
        kind=op.node.kind,
        calibrator=why.calibrator,
        p=why.p,
        flagged=sensitivity is not None and sensitivity.flagged,
        sensitivity=None if sensitivity is None else round(sensitivity.delta, 6),
        sensitivity_interval=_ends(sensitivity),
        reason=why.reason,
        options=() if choice is None else _options(choice),
        activations=tuple(_activation(grid, h.minimum, h.maximum) for grid, h in grids),
        weight=WeightPlan.of(weights.fitted(op.name, scheme.weight)) if scheme and scheme.weight else None,
    )


def _unsearched(scheme: LayerScheme | None, settings: Settings) -> _Why:
    if scheme and any(isinstance(grid, PerFrame) for grid in scheme.activations):
        return _Why("frame", "nothing was searched; a scale a frame, computed when the layer runs")
    if scheme and isinstance(scheme.activations[0], PerBlock):
        size = scheme.activations[0].size
        return _Why("block", f"nothing was searched; a scale for every {size} channels, computed when it runs")
    if scheme and isinstance(scheme.activations[0], Unrounded):
        return _Why("none", "nothing was searched; its weights alone are integers")
    calibrator = settings.activations.calibrator
    if scheme and scheme.activations[0].planes == 2:
        return _Why(
            calibrator,
            "nothing was searched; it reads the waveform, which 8 bits are too few for: carried in two planes",
        )
    return _Why(calibrator, "nothing was searched; a calibrated scale")


def _searched(
    name: str, scheme: LayerScheme | None, settings: Settings, sensitivity: Sensitivity, found: Found
) -> _Why:
    gamma = settings.search.gamma
    if not sensitivity.flagged:
        limit = "within chance" if sensitivity.delta > gamma else f"at most gamma {gamma:g}"
        return _Why(settings.activations.calibrator, f"not sensitive: {_cost(sensitivity)}, {limit}")
    p = found.stage2.p[name]
    clip = f"{p:g} % of the mass clipped, then least squared error"
    if scheme and any(grid.planes == 2 for grid in scheme.activations):
        clip += "; carried in two planes"
    return _Why("clipped_mse", f"sensitive: {_cost(sensitivity)}, more than gamma {gamma:g}; {clip}", p)


def _chosen(choice: Choice, scheme: LayerScheme, settings: Settings) -> _Why:
    """Why an allocation gave a layer its scheme: what it costs in divergence, and what the most accurate one would."""
    (first, *_) = scheme.activations
    dynamic = {PerFrame: "frame", PerBlock: "block", Unrounded: "none"}
    calibrator = dynamic.get(type(first), settings.activations.calibrator)
    if len(choice.costs) == 1:
        return _Why(calibrator, f"{choice.name}: the one form that this operation has here")
    nats = choice.nats[choice.name]
    best = min(choice.costs, key=lambda name: choice.nats[name])
    if choice.name == best:
        return _Why(calibrator, f"{choice.name}: the most accurate, its rounding costs {nats:.1e} nats a step")
    less = "less time" if choice.unit == "time" else "fewer bytes"
    saved = 1 - choice.costs[choice.name] / choice.costs[best] if choice.costs[best] else 0.0
    return _Why(
        calibrator,
        f"{choice.name}: takes {100 * saved:.0f} % {less} than {best}; its rounding costs {nats:.1e} nats a step, that of "
        f"the other {choice.nats[best]:.1e}",
    )


def _options(choice: Choice) -> tuple[OptionPlan, ...]:
    names = [*choice.costs, *(name for name in choice.nats if name not in choice.costs)]
    costs = {name: round(cost, 3) for name, cost in choice.costs.items()}
    return tuple(
        OptionPlan(
            scheme=name, chosen=name == choice.name, divergence=_digits(choice.nats.get(name)), cost=costs.get(name)
        )
        for name in names
    )


def _digits(value: float | None) -> float | None:
    """To four significant digits: an estimate has no more."""
    return None if value is None else float(f"{value:.4g}")


def _cost(sensitivity: Sensitivity) -> str:
    cost = f"alone it costs {sensitivity.delta:+.2f} points"
    if sensitivity.share < 1:
        cost += f" (forecast from {100 * sensitivity.share:.0f} % of the dev speech)"
    return cost


def _ends(sensitivity: Sensitivity | None) -> tuple[float, float] | None:
    if sensitivity is None or sensitivity.interval is None:
        return None
    low, high = sensitivity.interval
    return round(low, 6), round(high, 6)


def _left_in_float(floats: FloatFallback, name: str, settings: Settings) -> str:
    by, limit = settings.search.max_drop_by, settings.search.max_drop
    unit = "more bytes" if by == "bytes" else "multiplications on the longest batch"
    return (
        f"left in float: with all layers in int8 the plan costs {floats.before:+.2f} points on the dev speech, more than "
        f"max_drop {limit:g}; with {len(floats.floats)} in float {floats.after:+.2f}; this one takes "
        f"{floats.floats[name]} {unit}"
    )


def _activation(grid: ActivationSpec, minimum: float, maximum: float) -> AnyActivation:
    if isinstance(grid, PerFrame):
        return FramePlan(bits=grid.bits, shift=grid.shift, minimum=minimum, maximum=maximum)
    if isinstance(grid, Unrounded):
        return FloatPlan(minimum=minimum, maximum=maximum)
    if isinstance(grid, PerBlock):
        return BlockPlan(bits=grid.bits, size=grid.size, minimum=minimum, maximum=maximum)
    return ActivationPlan(
        scale=grid.scale,
        zero_point=grid.zero_point,
        bits=grid.bits,
        minimum=minimum,
        maximum=maximum,
        cutoff=max(abs(grid.range.low), abs(grid.range.high)) if grid.zero_point else grid.qmax * grid.scale,
        planes=grid.planes,
    )
