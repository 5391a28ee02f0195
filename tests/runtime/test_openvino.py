"""OpenVINO runs the exported files as ONNX Runtime runs them as written, on any processor."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import support
import torch

from stablequant.errors import ExportError, MissingRuntimeError
from stablequant.export.targets import TARGETS
from stablequant.export.translate import to_onnx
from stablequant.grid.affine import QuantParams
from stablequant.grid.weights import WeightSpec
from stablequant.network.graph import Graph
from stablequant.quantize.scheme import LayerScheme
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.runtime import openvino
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.openvino import OpenVinoBackend


def files(name: str, scheme: Any) -> dict[str, bytes]:
    return {k: p.SerializeToString() for k, p in support.onnx_files(name, scheme, TARGETS["openvino"]).items()}


@pytest.mark.parametrize("name", support.MODELS)
@pytest.mark.parametrize("names", [support.SHORT, support.SHORT[:1]], ids=["four, padded", "one"])
def test_the_float_file_transcribes_as_pytorch_does_for_any_batch_and_length(name: str, names: tuple[str, ...]) -> None:
    model = support.MODELS[name]()
    backend = OpenVinoBackend(files(name, {}), threads=1)
    sounds = support.waveforms(names)
    # Twice, the second time shorter: nothing of the first may stay behind.
    for batch in (sounds, [w[:16000] for w in sounds]):
        expected = model.frontend.recognize(Simulator(model).backend({}), batch)
        assert any(t.text for t in expected)
        assert model.frontend.recognize(backend, batch) == expected


@pytest.mark.parametrize("name", support.MODELS)
def test_the_int8_file_gives_what_onnx_runtime_gives_as_written(name: str) -> None:
    model = support.MODELS[name]()
    first = model.graphs[0]
    # One layer of each kind, so that no rounding in front of it can differ.
    kinds = {op.node.kind: op.name for op in reversed(model.ops()) if op.graph == first.name}
    feeds = {k: v.numpy() for k, v in support.feeds(model, support.waveforms(support.SHORT[:1])).items()}
    store = support.integer_weights(name)
    plain = OnnxRuntimeBackend({first.name: to_onnx(first, {}, store).SerializeToString()}).run(first.name, feeds)
    for layer in kinds.values():
        alone = {layer: support.scheme(name)[layer]}
        file = {first.name: to_onnx(first, alone, store, TARGETS["openvino"]).SerializeToString()}
        written = OnnxRuntimeBackend(file, optimise=False).run(first.name, feeds)
        found = OpenVinoBackend(file, threads=1).run(first.name, feeds)
        assert found.keys() == written.keys()
        for output, want in written.items():
            if want.dtype == np.float32:
                effect = support.relative_difference(want, plain[output])
                assert support.relative_difference(found[output], want) <= 0.1 * effect + 1e-5


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_no_sum_of_int8_products_overflows_on_any_processor(kind: str) -> None:
    """Where the largest codes meet the largest weights, 16 bits do not hold the sum of two products."""
    weight = torch.ones((8, 64) if kind == "linear" else (8, 64, 3))
    graph = Graph("case", {"l.weight": weight, "l.bias": torch.zeros(8)})
    x = graph.input("x", "float32", ("batch", "steps", 64))
    graph.output(graph.linear(x, "l") if kind == "linear" else graph.conv1d(x, "l"), "y", ("batch", "left", 8))
    scheme = {"l": LayerScheme((QuantParams(1 / 127),), WeightSpec())}
    file = {"case": to_onnx(graph, scheme, WeightStore({"l": weight}), TARGETS["openvino"]).SerializeToString()}
    feeds = {"x": np.ones((2, 40, 64), np.float32)}
    found = OpenVinoBackend(file, threads=1).run("case", feeds)["y"]
    np.testing.assert_allclose(found, weight[0].numel(), rtol=1e-5)


def test_int8_kernels_stay_on_where_they_cannot_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = "wavlm.feature_extractor.conv_layers.2.conv"
    file = files("graft", {layer: support.scheme("graft")[layer]})
    kernels = {}
    for overflows in (True, False):
        monkeypatch.setattr(openvino, "int8_overflows", lambda overflows=overflows: overflows)
        ran = OpenVinoBackend(file, threads=1).requests["model"].get_compiled_model().get_runtime_model().get_ops()
        told = [op.get_rt_info() for op in ran]
        products = [i["primitiveType"].value for i in told if i["layerType"].value == "FullyConnected"]
        kernels[overflows] = sum(kernel.endswith("I8") for kernel in products)
    assert kernels == {True: 0, False: 1}


def test_a_damaged_file_is_named() -> None:
    with pytest.raises(ExportError, match=r"OpenVINO cannot load a model in memory \(.+\).*Fix: export again"):
        OpenVinoBackend({"model": b"not an ONNX file"})


def test_without_openvino_the_mend_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingRuntimeError, match=r"not installed.*Fix: pip install 'stablequant\[openvino\]'"):
        OpenVinoBackend({})
