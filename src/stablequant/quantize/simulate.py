"""Simulated quantisation: the float graph with every planned operand rounded to its integer grid.

Nothing in the model is changed and nothing is hooked: the executor asks what to compute with, and this answers. A
layer that is named but does not exist is an error, not a silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from stablequant.families.held_weights import SMALL
from stablequant.families.model import SpeechModel
from stablequant.grid.affine import QuantParams, code_limits
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import SMALLEST_MAXIMUM, ActivationSpec, PerFrame
from stablequant.grid.unrounded import Unrounded
from stablequant.grid.weights import WeightSpec
from stablequant.network.execute import Executor, Operands, TorchBackend
from stablequant.network.fuse import fuse_attention
from stablequant.network.graph import Node
from stablequant.quantize.scheme import Scheme, in_rows, require_layers, require_rows
from stablequant.quantize.weights import WeightStore


class Simulator:
    """Runs a model's graphs in PyTorch, in float or under any number of quantisation schemes.

    Attributes:
        model: What is simulated.
        weights: Its integer weights; what they stand for is computed when a layer runs, and a small model's is kept.
        executors: By graph.
        device: Where values live.
    """

    def __init__(self, model: SpeechModel, *, matmuls: bool = False, weights: WeightStore | None = None) -> None:
        """Prepare ``model``.

        Args:
            model: What to simulate.
            matmuls: Whether schemes may name attention's products; without, they are fused, which is faster.
            weights: Integer weights of the model that others use too; default: its own.
        """
        self.model = model
        self.weights = weights or WeightStore.of(model)
        self.executors = {g.name: Executor(g if matmuls else fuse_attention(g)) for g in model.graphs}
        self._nodes = [op.node for op in model.ops(matmuls=matmuls)]
        self._names = {node.name for node in self._nodes}
        self._rounded: dict[tuple[str, WeightSpec], tuple[Tensor, Tensor | None]] = {}
        self._room = self._most = SMALL if model.float_bytes <= SMALL else 0
        self.device = "cpu"

    @property
    def multiplications(self) -> int:
        """Done so far in products, in all graphs."""
        return sum(executor.work.total() for executor in self.executors.values())

    def operands(self, scheme: Scheme) -> Operands | None:
        """What the executor should compute with under ``scheme``; ``None`` for all in float.

        Raises:
            PlanError: It names a layer that the model does not have, or has a scale a frame or a block for one that cannot.
        """
        require_layers(scheme, self._names)
        require_rows(scheme, self._nodes)
        if not scheme:
            return None
        last: list[Any] = [None, None, None]  # q, k and v read one tensor on one grid: round it once

        def rounded(x: Tensor, spec: ActivationSpec, node: Node) -> Tensor:
            # Convolutions with a scale a window share it if their windows are the same.
            key = spec, node.attrs.get("kernel"), node.attrs.get("stride")
            if last[0] is not x or last[1] != key:
                last[:] = x, key, fake_quantize(x, spec, node)
            result: Tensor = last[2]
            return result

        def operands(
            node: Node, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor], lengths: Tensor | None
        ) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
            layer = scheme.get(node.layer)
            if layer is None:
                return inputs, weights
            if layer.weight is not None:
                weight, correction = self._weight(node.layer, layer.weight)
                weights = {**weights, "weight": weight}
                if correction is not None and "bias" in weights:
                    weights["bias"] = weights["bias"] + correction
            if node.activations:
                grids = layer.activations
                inputs = (*(rounded(x, a, node) for x, a in zip(inputs, grids, strict=False)), *inputs[len(grids) :])
            return inputs, weights

        return operands

    def to(self, device: str) -> None:
        """Compute on ``device`` from now on."""
        self.device = device
        for executor in self.executors.values():
            executor.to(device)
        self._rounded = {key: self._moved(*held) for key, held in self._rounded.items()}

    def let_go_codes(self) -> None:
        """Let go of integer weights, and of what they stand for; they are made, or read, again when they are needed."""
        self._rounded.clear()
        self._room = self._most
        self.weights.let_go()

    def let_go(self) -> None:
        """Let go of all weights, the model's too."""
        self.let_go_codes()
        self.model.let_go()

    def backend(self, scheme: Scheme) -> TorchBackend:
        """The model under ``scheme`` as something that decoding can drive."""
        return TorchBackend(self.executors, self.operands(scheme))

    def _weight(self, layer: str, spec: WeightSpec) -> tuple[Tensor, Tensor | None]:
        key = layer, spec
        if key in self._rounded:
            return self._rounded[key]
        held = self.weights.codes(layer, spec)
        found = self._moved(held.dequantized(), held.correction)
        if (size := found[0].nbytes) <= self._room:
            self._rounded[key], self._room = found, self._room - size
        return found

    def _moved(self, weight: Tensor, correction: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """To the device that is computed on."""
        return weight.to(self.device), None if correction is None else correction.to(self.device)


def fake_quantize(x: Tensor, spec: ActivationSpec, node: Node) -> Tensor:
    """Round ``x`` to its grid and back, ties to even, as ONNX QuantizeLinear.

    Static: ``(clip(round(x / s) + z) - z) * s``; with two planes the remainder is rounded to its own grid and added. With a
    scale a frame see grid/frame.py, with one a block grid/block.py. By frame the result of a convolution's input is its windows
    ``[B, T', kernel, C]``, as frames that several windows share are rounded in each by that window's scale.
    """
    with torch.no_grad():  # no inference mode: training goes on with what comes out
        if isinstance(spec, QuantParams):
            return _static(x, spec)
        if isinstance(spec, Unrounded):
            return x
        if isinstance(spec, PerBlock):
            return _by_block(x, spec)
        if node.kind != "conv1d":
            return _by_frame(x, spec, (-1,))
        return _by_frame(windows(x, node), spec, (-2, -1))


def windows(x: Tensor, node: Node) -> Tensor:
    """What the kernel of an unpadded convolution sees: ``[B, T, C]`` as ``[B, T', kernel, C]``, without a copy."""
    return x.unfold(1, node.attrs["kernel"], node.attrs["stride"]).transpose(2, 3)


def rows_of(x: Tensor, node: Node) -> Tensor:
    """What an operation multiplies by its weight, a row each: a convolution's windows ``[B, T', kernel, C]``, else ``x``."""
    return windows(x, node) if node.kind == "conv1d" and in_rows(node) and x.dim() == 3 else x


def _static(x: Tensor, params: QuantParams) -> Tensor:
    low, high = params.qmin - params.zero_point, params.qmax - params.zero_point
    held = torch.div(x, params.scale).round_().clamp_(low, high).mul_(params.scale)
    return held if params.planes == 1 else held.add_(_static(x - held, params.remainder))


def _by_frame(x: Tensor, spec: PerFrame, axes: tuple[int, ...]) -> Tensor:
    shifted = x if spec.shift is None else x + spec.shift
    largest = (shifted.abs() if spec.shift is None else shifted).amax(axes, keepdim=True)
    unit = spec.unit
    step = largest.clamp_(min=SMALLEST_MAXIMUM).mul_(float(np.float32(unit.scale)))
    low, high = unit.qmin - unit.zero_point, unit.qmax - unit.zero_point
    held = torch.div(shifted, step).round_().clamp_(low, high).mul_(step)
    return held if spec.shift is None else held.sub_(spec.shift)


def _by_block(x: Tensor, spec: PerBlock) -> Tensor:
    channels, limit = x.shape[-1], code_limits(spec.bits)[1]
    whole = pad(x, (0, -channels % spec.size))
    blocks = whole.reshape(*whole.shape[:-1], -1, spec.size)
    largest = blocks.abs().amax(-1, keepdim=True).clamp_(min=SMALLEST_MAXIMUM)
    held = (blocks * (limit / largest)).round_().mul_(largest / limit)
    return held.flatten(-2)[..., :channels]
