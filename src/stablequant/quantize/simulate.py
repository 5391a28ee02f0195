"""Simulated quantisation: the float graph with every planned operand rounded to its integer grid.

Nothing in the model is changed and nothing is hooked: the executor asks what to compute with, and this answers. A
layer that is named but does not exist is an error, not a silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stablequant.families.model import SpeechModel
from stablequant.grid.affine import QuantParams
from stablequant.grid.weights import fake_quantize_weight, weight_scales
from stablequant.network.execute import Executor, Operands, TorchBackend
from stablequant.network.fuse import fuse_attention
from stablequant.network.graph import Node
from stablequant.quantize.plan import Scheme, require_layers
from stablequant.settings import Settings


class Simulator:
    """Runs a model's graphs in PyTorch, in float or under any number of quantisation schemes.

    Rounded weights depend on the settings alone, so they are made once a layer and shared by all schemes.
    """

    def __init__(
        self,
        model: SpeechModel,
        *,
        bits: int = 8,
        granularity: str = "channel",
        method: str = "max",
        matmuls: bool = False,
    ) -> None:
        """Prepare ``model``; weights, once a scheme names their layer, are rounded as given.

        Args:
            model: What to simulate.
            bits: Of the weights.
            granularity: "channel" or "tensor".
            method: "max" or "mse".
            matmuls: Whether schemes may name attention's products; without, they are fused, which is faster.
        """
        self.model = model
        self.executors = {g.name: Executor(g if matmuls else fuse_attention(g)) for g in model.graphs}
        self._names = {op.name for op in model.ops(matmuls=matmuls)}
        self._bits, self._granularity, self._method = bits, granularity, method
        self._weights: dict[str, Tensor] = {}

    @classmethod
    def under(cls, model: SpeechModel, settings: Settings) -> Simulator:
        """A simulator of ``model`` as ``settings`` say."""
        return cls(
            model,
            bits=settings.bits,
            granularity=settings.weight_granularity,
            method=settings.weight_method,
            matmuls=settings.attention_matmuls,
        )

    @property
    def multiplications(self) -> int:
        """Done so far in products, in all graphs."""
        return sum(executor.work.total() for executor in self.executors.values())

    def operands(self, scheme: Scheme) -> Operands | None:
        """What the executor should compute with under ``scheme``; ``None`` for all in float."""
        require_layers(scheme, self._names)
        if not scheme:
            return None
        last: list[Any] = [None, None, None]  # q, k and v read one tensor on one grid: round it once

        def rounded(x: Tensor, params: QuantParams) -> Tensor:
            if last[0] is not x or last[1] != params:
                last[:] = x, params, fake_quantize(x, params)
            result: Tensor = last[2]
            return result

        def operands(
            node: Node, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor], lengths: Tensor | None
        ) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
            name = node.attrs.get("tied", node.name)
            params = scheme.get(name)
            if params is None:
                return inputs, weights
            if "weight" in weights:
                weights = {**weights, "weight": self._rounded_weight(name, weights["weight"])}
            if node.activations:
                inputs = (*(rounded(x, p) for x, p in zip(inputs, params, strict=False)), *inputs[len(params) :])
            return inputs, weights

        return operands

    def to(self, device: str) -> None:
        """Compute on ``device`` from now on."""
        for executor in self.executors.values():
            executor.to(device)
        self._weights = {name: weight.to(device) for name, weight in self._weights.items()}

    def backend(self, scheme: Scheme) -> TorchBackend:
        """The model under ``scheme`` as something that decoding can drive."""
        return TorchBackend(self.executors, self.operands(scheme))

    def _rounded_weight(self, name: str, weight: Tensor) -> Tensor:
        if name not in self._weights:
            scales = weight_scales(weight, bits=self._bits, granularity=self._granularity, method=self._method)
            self._weights[name] = fake_quantize_weight(weight, scales, bits=self._bits)
        return self._weights[name]


def fake_quantize(x: Tensor, params: QuantParams) -> Tensor:
    """Round ``x`` to its grid and back: ``(clip(round(x / s) + z) - z) * s``, ties to even, as ONNX QuantizeLinear.

    With two planes the remainder is rounded to its own grid and added.
    """
    low, high = params.qmin - params.zero_point, params.qmax - params.zero_point
    with torch.inference_mode():
        held = torch.div(x, params.scale).round_().clamp_(low, high).mul_(params.scale)
        return held if params.planes == 1 else held.add_(fake_quantize(x - held, params.remainder))
