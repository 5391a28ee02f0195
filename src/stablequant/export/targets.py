"""Where the graph of one target differs from another's. Everything else is the same, from the same plan."""

from __future__ import annotations

from dataclasses import dataclass

from stablequant.errors import ExportError, SettingsError
from stablequant.quantize.plan import Plan

#: Kinds of activations in a plan that are not calibrated.
_FORMS = {"per_frame": "a scale a frame", "per_block": "a scale a block", "float": "an input in float"}


@dataclass(frozen=True)
class Target:
    """How a plan is written for one target.

    Attributes:
        name: The runtime that the file is for.
        signed: Activations are int8 with zero point 0, the only form that TensorRT takes, instead of uint8 moved by 128.
        strict: An int8 tensor is read by DequantizeLinear alone, and a pair stands right in front of its operation.
            Elsewhere a pair stands before a transpose, which then moves a quarter of the bytes, and an embedding that shares
            the head's weight gathers its codes, so that the table is never written out in float.
        move_shared_weights: Weights with two readers, those of two products, are uint8 instead of int8 (see
            ``Writer.int8_weight``).
        windows: A convolution whose input is in so many planes (0: in float) is written as a linear layer over the windows that
            its kernel sees, because the target is faster at that.
        pads_codes: That holds for a convolution that is padded too: its codes are.
        float_convolutions: The target computes a convolution in float from its int8 operands, so two planes are added before
            it instead of after it.
        block_kernel: A linear layer with a scale a block is one ``MatMulNBits``, an operator of ONNX Runtime, instead of plain
            ONNX around a float product.
        attention_kernel: Attention that hides nothing but padding is one ``MultiHeadAttention``, an operator of ONNX Runtime that
            never writes the scores of a long sequence down.
        row_scales: QuantizeLinear has a kernel of a scale a row that is computed when it runs.
        bias_apart: The bias of a convolution over two axes whose output is rounded is added after that is turned. OpenVINO 2026.4
            forgets a bias between such a convolution and the rounding where something asks for the shape behind it.
    """

    name: str
    signed: bool = False
    strict: bool = False
    move_shared_weights: bool = False
    windows: tuple[int, ...] = ()
    pads_codes: bool = False
    float_convolutions: bool = False
    block_kernel: bool = False
    attention_kernel: bool = False
    row_scales: bool = False
    bias_apart: bool = False

    def check(self, plan: Plan) -> None:
        """Raise ExportError if the plan has something that the target does not take, before any file is written."""
        dynamic = [layer for layer in plan.layers if any(a.kind != "static" for a in layer.activations)]
        if self.strict and dynamic:
            form = _FORMS[dynamic[0].activations[0].kind]
            what = f"the plan has {form} in {len(dynamic)} layers, such as {dynamic[0].name}"
            fix = "quantize with --recipe paper, or export for onnxruntime or openvino"
            raise ExportError(what, expected=f"calibrated scales, the only ones that {self.name} takes", fix=fix)
        moved = [
            layer.name for layer in plan.layers if any(a.kind == "static" and a.zero_point for a in layer.activations)
        ]
        if self.signed and moved:
            what = f"the plan has a zero point other than 0 in {len(moved)} layers, such as {moved[0]}"
            fix = "quantize with --set symmetric=true, or export for openvino or onnxruntime"
            raise ExportError(what, expected=f"symmetric grids, the only ones that {self.name} takes", fix=fix)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "onnxruntime",
            move_shared_weights=True,
            windows=(1,),
            pads_codes=True,
            float_convolutions=True,
            block_kernel=True,
            attention_kernel=True,
            row_scales=True,
        ),
        Target("openvino", windows=(0, 1, 2), bias_apart=True),
        Target("tensorrt", signed=True, strict=True),
    )
}
#: What a graph is written for where nothing else is said: its runtime is always installed, and right on every processor.
DEFAULT = TARGETS["onnxruntime"]


def target(made: Target) -> Target:
    """Register a target, so that `stablequant export --target` and `stablequant.export` know it.

    Raises:
        SettingsError: There is another target of this name.
    """
    if TARGETS.setdefault(made.name, made) != made:
        what = f"there is a target {made.name!r} already"
        raise SettingsError(what, expected="a new name")
    return made


def require_target(name: str) -> Target:
    """The target called ``name``; SettingsError if there is none."""
    if name not in TARGETS:
        what = f"--target {name}"
        raise SettingsError(what, expected=f"one of {', '.join(TARGETS)}")
    return TARGETS[name]
