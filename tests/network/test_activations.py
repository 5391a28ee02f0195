"""Activation functions are those that transformers has under the same names, here and in the files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.activations import ACT2CLS, ACT2FN

from stablequant.export.targets import TARGETS
from stablequant.export.translate import to_onnx
from stablequant.network.activations import ACTIVATIONS
from stablequant.network.execute import Executor
from stablequant.network.graph import LEARNT, LOWER_BOUNDS, Graph
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.openvino import OpenVinoBackend

X = torch.linspace(-12, 12, 24_001)


def test_every_function_is_here() -> None:
    assert {*ACTIVATIONS, *LEARNT} == set(ACT2CLS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_function_is_the_one_of_transformers(name: str) -> None:
    torch.testing.assert_close(ACTIVATIONS[name](X), ACT2FN[name](X), rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("name", LOWER_BOUNDS)
def test_a_lower_bound_is_the_least_value_rounded_down(name: str) -> None:
    # Two points far out too: where a function falls to 0 it does so beyond any grid.
    least = float(ACTIVATIONS[name](torch.cat((X, torch.tensor([-50.0, -1.0e4]))).double()).min())
    assert -1e-12 <= least - LOWER_BOUNDS[name] <= 1.1e-6


@pytest.mark.parametrize("name", LEARNT)
def test_parameters_of_a_function_are_those_of_its_module(name: str) -> None:
    module = ACT2FN[name].float()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.5)
    graph = Graph("case", {f"act.{key}": value for key, value in module.state_dict().items()})
    found = _outputs(graph, name)
    for computed in found:
        np.testing.assert_allclose(computed, module(X).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_runtimes_compute_the_same(name: str) -> None:
    expected, *found = _outputs(Graph("case", {}), name)
    for computed in found:
        np.testing.assert_allclose(computed, expected, rtol=1e-4, atol=1e-5)


def _outputs(graph: Graph, name: str) -> list[np.ndarray]:
    """Of one function, in PyTorch and of the files for both runtimes."""
    x = graph.input("x", "float32", ("t",))
    graph.output(graph.activation(x, name, "act"), "y", ("t",))
    result = [Executor(graph).run({"x": X})["y"].numpy()]
    for target, backend in (("onnxruntime", OnnxRuntimeBackend), ("openvino", OpenVinoBackend)):
        file = to_onnx(graph, {}, WeightStore({}), TARGETS[target]).SerializeToString()
        result.append(backend({"case": file}, threads=1).run("case", {"x": X.numpy()})["y"])
    return result
