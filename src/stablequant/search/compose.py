"""The search's findings as a plan, each layer with its reason."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version

from stablequant.families.model import Op, SpeechModel
from stablequant.grid.affine import QuantParams
from stablequant.observe.collect import Histograms
from stablequant.quantize.plan import ActivationPlan, Identity, LayerPlan, Plan, WeightPlan
from stablequant.search.fallback import LastResort
from stablequant.search.stage1 import Sensitivity
from stablequant.search.stages import Found
from stablequant.settings import Settings

#: Packages whose version can change a number.
PACKAGES = ("stablequant", "torch", "transformers", "onnx", "onnxruntime", "numpy")


def compose(
    model: SpeechModel,
    name: str,
    data: Mapping[str, Identity],
    settings: Settings,
    histograms: Histograms,
    found: Found,
) -> Plan:
    """Write down what was decided for every quantisable operation of ``model``.

    Args:
        model: What was quantised.
        name: What the user called it.
        data: Identity of the calibration, dev and test speech.
        settings: Of the run.
        histograms: Of every activation.
        found: By the search.
    """
    measured = {s.name: s for s in found.layers}
    layers = [
        _layer(op, settings, histograms, measured[op.name], found)
        for op in model.ops(matmuls=settings.attention_matmuls)
    ]
    values = set(found.percentiles.p.values())
    return Plan(
        model=Identity(name=name, fingerprint=model.fingerprint, details={"family": model.family}),
        data=dict(data),
        settings=settings,
        versions={"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        p=values.pop() if len(values) == 1 else None,
        layers=tuple(layers),
    )


def _layer(op: Op, settings: Settings, histograms: Histograms, sensitivity: Sensitivity, found: Found) -> LayerPlan:
    cost = f"alone it costs {sensitivity.delta:+.2f} points of WER"
    if sensitivity.heard < 1:
        cost += f" (forecast from {100 * sensitivity.heard:.0f} % of the dev speech)"
    if found.floats and op.name in found.floats.floats:
        p, calibrator = None, "float"
        reason = _left_in_float(found.floats, op.name, settings)
    elif sensitivity.flagged:
        p = found.percentiles.p[op.name]
        calibrator = "clipped_mse"
        clip = f"{p:g} % of the mass clipped, then least squared error"
        if any(grid.planes == 2 for grid in found.scheme[op.name]):
            clip += "; carried in two planes"
        reason = f"sensitive: {cost}, more than gamma {settings.gamma:g}; {clip}"
    else:
        p, calibrator = None, settings.base_calibrator
        chance = sensitivity.delta > settings.gamma
        reason = f"not sensitive: {cost}, " + ("within chance" if chance else f"at most gamma {settings.gamma:g}")
    grids = zip(found.scheme[op.name], histograms[op.name], strict=True) if calibrator != "float" else ()
    weight = None
    if op.node.weights and calibrator != "float":
        weight = WeightPlan(bits=settings.bits, granularity=settings.weight_granularity, method=settings.weight_method)
    return LayerPlan(
        name=op.name,
        graph=op.graph,
        kind=op.node.kind,
        calibrator=calibrator,
        p=p,
        flagged=sensitivity.flagged,
        sensitivity=round(sensitivity.delta, 6),
        sensitivity_interval=sensitivity.interval and tuple(round(end, 6) for end in sensitivity.interval),
        reason=reason,
        activations=tuple(_activation(grid, h.minimum, h.maximum) for grid, h in grids),
        weight=weight,
    )


def _left_in_float(floats: LastResort, name: str, settings: Settings) -> str:
    unit = "more bytes" if settings.max_drop_by == "bytes" else "multiplications on the longest batch"
    return (
        f"left in float: with all layers in int8 the plan costs {floats.before:+.2f} points on the dev speech, more than "
        f"max_drop {settings.max_drop:g}; with {len(floats.floats)} in float {floats.after:+.2f}; this one takes "
        f"{floats.floats[name]} {unit}"
    )


def _activation(grid: QuantParams, minimum: float, maximum: float) -> ActivationPlan:
    return ActivationPlan(
        scale=grid.scale,
        zero_point=grid.zero_point,
        bits=grid.bits,
        minimum=minimum,
        maximum=maximum,
        cutoff=max(abs(grid.range.low), abs(grid.range.high)) if grid.zero_point else grid.qmax * grid.scale,
        planes=grid.planes,
    )
