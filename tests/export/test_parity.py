"""The gate of an export: it lets a right file through, whatever rounds the other way, and no wrong one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import support
from onnx import numpy_helper

from stablequant.errors import VerificationError
from stablequant.export import parity
from stablequant.quantize.simulate import Simulator
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend


def protos(name: str) -> dict[str, onnx.ModelProto]:
    return support.onnx_files(name, support.scheme(name))


def backend(files: dict[str, onnx.ModelProto], *, optimise: bool) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend({k: p.SerializeToString() for k, p in files.items()}, threads=1, optimise=optimise)


def checked(name: str, files: dict[str, onnx.ModelProto], runs: Any) -> list[parity.Parity]:
    model = support.MODELS[name]()
    simulation = Simulator(model).backend(support.scheme(name))
    plain = backend(files, optimise=False)
    return parity.compare(model.frontend, simulation, plain, ("runtime", runs), support.waveforms())


def scaled(proto: onnx.ModelProto, ending: str, factor: float) -> onnx.ModelProto:
    """The file with one layer's weight scales changed."""
    changed = onnx.ModelProto.FromString(proto.SerializeToString())
    tensor = next(i for i in changed.graph.initializer if i.name.endswith(ending))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
    return changed


@pytest.mark.parametrize("name", support.MODELS)
def test_a_right_file_passes_against_simulation_and_runtime(name: str) -> None:
    files = protos(name)
    found = checked(name, files, backend(files, optimise=True))
    assert [(p.subject, p.reference) for p in found] == [
        ("ONNX Runtime without optimisation", "the simulation"),
        ("runtime", "ONNX Runtime without optimisation"),
    ]
    assert all(p.passed and p.limit < 0.3 for p in found)
    parity.require(found, "nowhere")


@pytest.mark.parametrize(
    ("name", "ending"), [("graft", "conv_layers.1.conv.weight.scale"), ("moonshine", "conv2.weight.scale")]
)
def test_one_layer_off_by_a_half_fails_on_either_side(name: str, ending: str) -> None:
    files = protos(name)
    wrong = {graph: scaled(p, ending, 1.5) if graph != "decoder" else p for graph, p in files.items()}
    file, _ = checked(name, wrong, backend(wrong, optimise=True))
    assert not file.passed
    right, runtime = checked(name, files, backend(wrong, optimise=False))
    assert right.passed
    assert not runtime.passed
    with pytest.raises(
        VerificationError, match=r"logits of runtime differ from .* by \d+.*kept in here\. Expected at most"
    ):
        parity.require([right, runtime], "here")


def test_logits_that_are_no_numbers_fail() -> None:
    assert not parity.Parity("a", "b", float("nan"), 0.1).passed
