"""The search's findings as a plan, each layer with its reason."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version

from stablequant.families.model import Op, SpeechModel
from stablequant.grid.frame import ActivationSpec, PerFrame
from stablequant.observe.collect import Histograms
from stablequant.quantize.plan import ActivationPlan, FramePlan, Identity, LayerPlan, Plan, SpeechIdentity, WeightPlan
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
        _layer(op, settings, histograms, measured.get(op.name), found)
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


def _layer(
    op: Op, settings: Settings, histograms: Histograms, sensitivity: Sensitivity | None, found: Found
) -> LayerPlan:
    gamma = settings.search.gamma
    scheme = found.scheme.get(op.name)
    if scheme is None and found.floats:
        p, calibrator = None, "float"
        reason = _left_in_float(found.floats, op.name, settings)
    elif sensitivity is None:
        p, calibrator, reason = None, settings.activations.calibrator, "nothing was searched; a calibrated scale"
        if scheme and any(isinstance(grid, PerFrame) for grid in scheme.activations):
            calibrator, reason = "frame", "nothing was searched; a scale a frame, computed when the layer runs"
        elif scheme and scheme.activations[0].planes == 2:
            reason = "nothing was searched; it reads the waveform, which 8 bits are too few for: carried in two planes"
    elif sensitivity.flagged:
        p = found.stage2.p[op.name]
        calibrator = "clipped_mse"
        clip = f"{p:g} % of the mass clipped, then least squared error"
        if scheme and any(grid.planes == 2 for grid in scheme.activations):
            clip += "; carried in two planes"
        reason = f"sensitive: {_cost(sensitivity)}, more than gamma {gamma:g}; {clip}"
    else:
        p, calibrator = None, settings.activations.calibrator
        chance = sensitivity.delta > gamma
        reason = f"not sensitive: {_cost(sensitivity)}, " + ("within chance" if chance else f"at most gamma {gamma:g}")
    grids = zip(scheme.activations, histograms[op.name], strict=True) if scheme else ()
    return LayerPlan(
        name=op.name,
        graph=op.graph,
        kind=op.node.kind,
        calibrator=calibrator,
        p=p,
        flagged=sensitivity is not None and sensitivity.flagged,
        sensitivity=None if sensitivity is None else round(sensitivity.delta, 6),
        sensitivity_interval=_ends(sensitivity),
        reason=reason,
        activations=tuple(_activation(grid, h.minimum, h.maximum) for grid, h in grids),
        weight=WeightPlan.of(scheme.weight) if scheme and scheme.weight else None,
    )


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


def _activation(grid: ActivationSpec, minimum: float, maximum: float) -> ActivationPlan | FramePlan:
    if isinstance(grid, PerFrame):
        return FramePlan(bits=grid.bits, shift=grid.shift, minimum=minimum, maximum=maximum)
    return ActivationPlan(
        scale=grid.scale,
        zero_point=grid.zero_point,
        bits=grid.bits,
        minimum=minimum,
        maximum=maximum,
        cutoff=max(abs(grid.range.low), abs(grid.range.high)) if grid.zero_point else grid.qmax * grid.scale,
        planes=grid.planes,
    )
