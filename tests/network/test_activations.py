"""Activation functions are those that transformers has under the same names, here and in the files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.activations import ACT2CLS, ACT2FN

from stablequant.export.targets import TARGETS
from stablequant.export.translate import to_onnx
from stablequant.network.execute import Executor
from stablequant.network.graph import LOWER_BOUNDS, Graph
from stablequant.network.kernels import ACTIVATIONS
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.openvino import OpenVinoBackend

#: With parameters of their own; and one that OpenVINO computes less exactly than the others.
LEFT_OUT = {"prelu", "xielu", "sqrtsoftplus"}
X = torch.linspace(-12, 12, 24_001)


def test_every_function_is_here_but_those_that_are_left_out() -> None:
    assert set(ACTIVATIONS) == set(ACT2CLS) - LEFT_OUT


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_function_is_the_one_of_transformers(name: str) -> None:
    torch.testing.assert_close(ACTIVATIONS[name](X), ACT2FN[name](X), rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("name", LOWER_BOUNDS)
def test_a_lower_bound_is_the_least_value_rounded_down(name: str) -> None:
    # Two points far out too: where a function falls to 0 it does so beyond any grid.
    least = float(ACTIVATIONS[name](torch.cat((X, torch.tensor([-50.0, -1.0e4]))).double()).min())
    assert -1e-12 <= least - LOWER_BOUNDS[name] <= 1.1e-6


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_openvino_computes_the_same(name: str) -> None:
    graph = Graph("case", {})
    x = graph.input("x", "float32", ("t",))
    graph.output(graph.add("activation", x, function=name), "y", ("t",))
    file = to_onnx(graph, {}, WeightStore({}), TARGETS["openvino"]).SerializeToString()
    found = OpenVinoBackend({"case": file}, threads=1).run("case", {"x": X.numpy()})["y"]
    np.testing.assert_allclose(found, Executor(graph).run({"x": X})["y"].numpy(), rtol=1e-4, atol=1e-5)
