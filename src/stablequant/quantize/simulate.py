"""Simulated quantisation: the float graph with every planned operand rounded to its integer grid.

Nothing in the model is changed and nothing is hooked: the executor asks what to compute with, and this answers. A
layer that is named but does not exist is an error, not a silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablequant.calibrate.weights import fake_quantize_weight, weight_scales
from stablequant.models.execute import Executor, Operands
from stablequant.models.graph import Node
from stablequant.models.model import SpeechModel
from stablequant.quantize.affine import QuantParams
from stablequant.quantize.plan import Scheme, require_layers


class Simulator:
    """Runs a model's graphs in PyTorch, in float or under any number of quantisation schemes.

    Rounded weights depend on the settings alone, so they are made once a layer and shared by all schemes.
    """

    def __init__(self, model: SpeechModel, *, bits: int = 8, granularity: str = "channel", method: str = "max") -> None:
        """Prepare ``model``; weights, once a scheme names their layer, are rounded as given."""
        self.model = model
        self.executors = {g.name: Executor(g) for g in model.graphs}
        self._names = {op.name for op in model.ops(matmuls=True)}
        self._settings = {"bits": bits, "granularity": granularity, "method": method}
        self._weights: dict[str, Tensor] = {}

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

    def backend(self, scheme: Scheme) -> SimulatedBackend:
        """The model under ``scheme`` as something that decoding can drive."""
        return SimulatedBackend(self, self.operands(scheme))

    def _rounded_weight(self, name: str, weight: Tensor) -> Tensor:
        if name not in self._weights:
            scales = weight_scales(weight, **self._settings)  # type: ignore[arg-type]
            self._weights[name] = fake_quantize_weight(weight, scales, bits=int(self._settings["bits"]))
        return self._weights[name]


class SimulatedBackend:
    """One scheme of a simulator behind the interface that decoding uses."""

    def __init__(self, simulator: Simulator, operands: Operands | None) -> None:
        """Bind ``operands`` to the graphs of ``simulator``."""
        self._executors = simulator.executors
        self._operands = operands

    def run(self, graph: str, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of ``graph`` by name."""
        executor = self._executors[graph]
        values = executor.run(feeds, self._operands)
        return {name: values[name] for name in executor.graph.outputs}

    def put(self, array: NDArray[Any]) -> Tensor:
        """As a tensor."""
        return torch.from_numpy(np.ascontiguousarray(array))

    def get(self, array: Tensor) -> NDArray[Any]:
        """As an array."""
        result: NDArray[Any] = array.numpy()
        return result


def fake_quantize(x: Tensor, params: QuantParams) -> Tensor:
    """Round ``x`` to its grid and back: ``(clip(round(x / s) + z) - z) * s``, ties to even, as ONNX QuantizeLinear."""
    low, high = -(2 ** (params.bits - 1)), 2 ** (params.bits - 1) - 1
    with torch.inference_mode():
        q = torch.div(x, params.scale).round_()
        return q.clamp_(low - params.zero_point, high - params.zero_point).mul_(params.scale)
