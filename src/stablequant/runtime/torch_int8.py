"""A plan executed in int8 by PyTorch: static scales, int8 products summed in int32, everything else in float32.

Meant for GPUs, where `torch._int_mm` runs on the tensor cores; on a CPU it computes the same numbers, slowly. Nothing is
exported: weights are quantised when the model is loaded, and the float ones of quantised layers are let go.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad, unfold

from stablequant.errors import SettingsError
from stablequant.families.model import SpeechModel
from stablequant.grid.affine import QuantParams, code_limits
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import SMALLEST_MAXIMUM, ActivationSpec, PerFrame
from stablequant.grid.unrounded import Unrounded
from stablequant.grid.weights import PerGroup
from stablequant.network.execute import Executor, TorchBackend
from stablequant.network.fuse import fuse_attention
from stablequant.network.graph import Graph, Node
from stablequant.network.kernels import KERNELS
from stablequant.quantize.scheme import Scheme, require_rows
from stablequant.quantize.weights import WeightStore

#: cuBLAS takes int8 matrices with inner and outer sizes that are multiples of this,
MULTIPLE = 8
#: and on a GPU at least so many rows; fewer are padded with zeros.
FEWEST_ROWS = 32


class TorchInt8Backend(TorchBackend):
    """The graphs of ``model`` under a plan, with int8 operands for every layer that the plan names.

    Attributes:
        device: "cuda" or "cpu".
    """

    def __init__(
        self, model: SpeechModel, scheme: Scheme, *, device: str = "", weights: WeightStore | None = None
    ) -> None:
        """Quantise the weights.

        Args:
            model: The checkpoint that the plan was made for.
            scheme: Of the plan.
            device: Where to compute; default: a GPU if there is one.
            weights: Integer weights of the model; default: made here.

        Raises:
            SettingsError: The plan quantises attention's products, or to other than 8 bits.
            PlanError: The plan has a scale a frame or a block for a layer that cannot have one.
        """
        _check(model, scheme)
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        kernels = {**KERNELS, **_int8_kernels(scheme, FEWEST_ROWS if self.device.startswith("cuda") else 1)}
        weights = weights or WeightStore.of(model)
        executors = {g.name: Executor(_in_int8(fuse_attention(g), weights, scheme), kernels) for g in model.graphs}
        for executor in executors.values():
            executor.to(self.device)
        super().__init__(executors)

    @property
    def name(self) -> str:
        """Runtime, version and device."""
        where = torch.cuda.get_device_name() if self.device.startswith("cuda") else self.device
        return f"torch {torch.__version__.split('+')[0]} on {where}"


def _check(model: SpeechModel, scheme: Scheme) -> None:
    products = [op.name for op in model.ops(matmuls=True) if op.node.kind == "matmul" and op.name in scheme]
    if products:
        what = f"the plan quantises attention's products, such as {products[0]}"
        fix = "quantize with --set attention_matmuls=false, or use another runtime"
        raise SettingsError(what, expected="layers with weights alone", fix=fix)
    require_rows(scheme, (op.node for op in model.ops()))
    for name, layer in scheme.items():
        grouped = layer.weight is not None and isinstance(layer.weight.per, PerGroup)
        by_block = any(isinstance(a, PerBlock) for a in layer.activations)
        in_float = any(isinstance(a, Unrounded) for a in layer.activations)
        if layer.weight is None or layer.weight.bits != 8 or (grouped and not by_block) or in_float:
            what = (
                f"the plan has other than 8-bit operands with a scale an output channel, a tensor or a block in {name}"
            )
            raise SettingsError(what, expected="8 bits, the only width that torch multiplies in")


def _in_int8(graph: Graph, weights: WeightStore, scheme: Scheme) -> Graph:
    """``graph`` with the weights of planned layers as codes ``[out, in * kernel]``, padded, and their scales."""
    weights_of = dict(graph.weights)
    result = Graph(graph.name, weights_of)
    result.inputs, result.outputs = graph.inputs, graph.outputs
    for node in graph.nodes:
        layer = scheme.get(node.layer)
        if layer and layer.weight and "weight" in node.weights:
            key = node.weights["weight"]
            if f"{key}.scales" not in weights_of:
                held = weights.codes(node.layer, layer.weight)
                rows = held.codes.reshape(len(held.codes), -1)
                per, scales = layer.weight.per, held.scales
                whole = per.size if isinstance(per, PerGroup) else MULTIPLE
                weights_of[key] = pad(rows, (0, -rows.shape[1] % whole))
                weights_of[f"{key}.scales"] = (scales if scales.dim() > 1 else scales.expand(len(rows))).contiguous()
                if held.correction is not None:
                    bias = node.weights["bias"]  # the model's own tensor stays as it is
                    weights_of[bias] = weights_of[bias] + held.correction
            attrs = {**node.attrs, "width": graph.weights[key][0].numel()}
            node = replace(node, attrs=attrs, weights={**node.weights, "scales": f"{key}.scales"})
        result.nodes.append(node)
    return result


def _int8_kernels(scheme: Scheme, fewest: int) -> dict[str, Callable[..., tuple[Tensor, ...]]]:
    """Kernels that compute layers with int8 weights in int8, and leave others to the float kernels."""

    def linear(node: Node, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        (grid,) = scheme[node.name].activations
        rows = x.reshape(-1, x.shape[-1])
        return _rounded_product(rows[:, None], grid, weights, fewest).reshape(*x.shape[:-1], -1)

    def conv1d(node: Node, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        (grid,) = scheme[node.name].activations
        a = node.attrs
        x = pad(x, (0, 0, a["padding"], a["padding"]))
        steps = (x.shape[1] - a["trim"] - a["kernel"]) // a["stride"] + 1
        windows = x.unfold(1, a["kernel"], a["stride"])[:, :steps]
        batch, steps, channels, kernel = windows.shape
        # [B, T, groups, channels of one * kernel], as the weight's own rows lie.
        rows = windows.reshape(batch * steps, a["groups"], channels // a["groups"] * kernel)
        return _rounded_product(rows, grid, weights, fewest).reshape(batch, steps, -1)

    def conv2d(node: Node, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        (grid,) = scheme[node.name].activations
        a = node.attrs
        batch, _, steps, channels = x.shape
        found = unfold(x.permute(0, 3, 1, 2), a["kernel"], padding=a["padding"], stride=a["stride"]).transpose(1, 2)
        rows = found.reshape(-1, a["groups"], channels // a["groups"] * a["kernel"] ** 2)
        time = (steps + 2 * a["padding"] - a["kernel"]) // a["stride"] + 1
        return _rounded_product(rows, grid, weights, fewest).reshape(batch, -1, time, len(weights["bias"]))

    def embedding(node: Node, ids: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        codes, scales = weights["weight"][ids].float(), weights["scales"][ids]
        rows = (
            codes * scales[..., None]
            if scales.dim() == ids.dim()
            else _grouped(codes, scales.shape[-1]) * scales[..., None]
        )
        return rows.reshape(codes.shape)[..., : node.attrs["width"]]

    def choosing(
        kind: str, int8: Callable[[Node, Tensor, Mapping[str, Tensor]], Tensor]
    ) -> Callable[..., tuple[Tensor, ...]]:
        def call(node: Node, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
            if "scales" not in weights:
                return KERNELS[kind](node, inputs, weights)
            return (int8(node, inputs[0], weights),)

        return call

    kernels = {"linear": linear, "conv1d": conv1d, "conv2d": conv2d, "embedding": embedding}
    return {kind: choosing(kind, kernel) for kind, kernel in kernels.items()}


def _rounded_product(x: Tensor, grid: ActivationSpec, weights: Mapping[str, Tensor], fewest: int) -> Tensor:
    """``x @ weight.T + bias`` with ``x`` ``[M, groups, K]`` on ``grid``, in as many products as it has codes."""
    if isinstance(grid, PerFrame):
        return _by_row(x, grid, weights, fewest)
    if isinstance(grid, PerBlock):
        return _by_block(x, grid, weights, fewest)
    assert isinstance(grid, QuantParams)  # inputs in float were refused
    codes = _codes(x, grid)
    y = _product(codes, grid, weights, fewest)
    if grid.planes == 2:
        rest = x - (codes.float() - grid.zero_point) * grid.scale
        y = y + _product(_codes(rest, grid.remainder), grid.remainder, weights, fewest)
    return y + weights["bias"] if "bias" in weights else y


def _by_row(x: Tensor, grid: PerFrame, weights: Mapping[str, Tensor], fewest: int) -> Tensor:
    """The same with a scale a row; what a shift adds to each product is taken off it, ``c`` times the sum of the weights."""
    shifted = x if grid.shift is None else x + grid.shift
    largest = (shifted.abs() if grid.shift is None else shifted).amax((1, 2), keepdim=True).clamp_(min=SMALLEST_MAXIMUM)
    y = _product(_codes(shifted / largest, grid.unit), grid.unit, weights, fewest) * largest[:, 0]
    if grid.shift is not None:
        y = y - grid.shift * weights["weight"].sum(1, dtype=torch.int32) * weights["scales"]
    return y + weights["bias"] if "bias" in weights else y


def _by_block(x: Tensor, grid: PerBlock, weights: Mapping[str, Tensor], fewest: int) -> Tensor:
    """The same with a scale a block: a product a block, each worth its own scale of the input and of the weights."""
    weight, scales = weights["weight"], weights["scales"]
    limit, count = code_limits(grid.bits)[1], scales.shape[1]
    blocks = _grouped(pad(x[:, 0], (0, weight.shape[1] - x.shape[2])), count)
    largest = blocks.abs().amax(2, keepdim=True).clamp_(min=SMALLEST_MAXIMUM)
    codes, one = (blocks * (limit / largest)).round_().to(torch.int8), QuantParams(1.0)
    parts = (
        _product(codes[:, b : b + 1], one, {"weight": part, "scales": scales[:, b]}, fewest) * (largest[:, b] / limit)
        for b, part in enumerate(weight.chunk(count, 1))
    )
    y = functools.reduce(torch.add, parts)
    return y + weights["bias"] if "bias" in weights else y


def _grouped(x: Tensor, count: int) -> Tensor:
    """``[..., K]`` as ``[..., count, K / count]``."""
    return x.reshape(*x.shape[:-1], count, -1)


def _codes(x: Tensor, grid: QuantParams) -> Tensor:
    """Codes of ``x`` as int8, ties to even (see grid/affine.py)."""
    return torch.div(x, grid.scale).round_().add_(grid.zero_point).clamp_(grid.qmin, grid.qmax).to(torch.int8)


def _product(codes: Tensor, grid: QuantParams, weights: Mapping[str, Tensor], fewest: int) -> Tensor:
    """Codes times weights, summed in int32, as real numbers ``[M, out]``; groups side by side."""
    rows, groups, inner = codes.shape
    codes = pad(codes, (0, weights["weight"].shape[1] - inner, 0, 0, 0, max(0, fewest - rows)))
    parts = []
    for group, weight in enumerate(weights["weight"].chunk(groups)):
        out = len(weight)
        whole = pad(weight, (0, 0, 0, -out % MULTIPLE))
        total = torch._int_mm(codes[:, group].contiguous(), whole.t())[:rows, :out]
        # x = scale * (code - zero point), and a zero's share is the same for all rows.
        parts.append(total - grid.zero_point * weight.sum(1, dtype=torch.int32) if grid.zero_point else total)
    return torch.cat(parts, 1).float() * (weights["scales"] * grid.scale)
