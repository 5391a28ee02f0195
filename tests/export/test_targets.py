"""One plan, a graph a target: what each target is promised, and that all of them compute the same."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import support
import torch
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from test_emitters import BANDS, GRID, Case, built, drawn, layer_of, simulated

from stablequant.errors import ExportError, SettingsError
from stablequant.export import package, targets
from stablequant.export.targets import TARGETS, Target, require_target, target
from stablequant.export.translate import to_onnx
from stablequant.network.graph import Graph
from stablequant.quantize import calibrated
from stablequant.quantize.plan import Identity, LayerPlan, Plan
from stablequant.quantize.plan_grids import ActivationPlan, WeightPlan
from stablequant.quantize.scheme import LayerScheme, Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.runtime import openvino
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.openvino import OpenVinoBackend
from stablequant.settings import Settings

SECOND = 16000


@cache
def scheme(name: str) -> dict[str, LayerScheme]:
    """Everything in int8, attention's products too, and the convolutions in two planes."""
    convolutions = {op.name: 0.1 for op in support.MODELS[name]().ops() if op.node.kind == "conv1d"}
    base = support.scheme(name, matmuls=True, attention_matmuls=True)
    return calibrated.mixed(base, support.histograms(name), convolutions, Settings(planes=2))


def written(name: str, target: str, chosen: Scheme | None = None, **changes: Any) -> dict[str, onnx.ModelProto]:
    return support.onnx_files(name, scheme(name) if chosen is None else chosen, replace(TARGETS[target], **changes))


def feeds(name: str) -> dict[str, np.ndarray]:
    model, sound = support.MODELS[name](), support.waveform(support.SHORT[0])[:SECOND]
    return {k: v.numpy() for k, v in support.feeds(model, [sound]).items()}


@pytest.mark.parametrize("name", support.MODELS)
def test_tensorrt_s_file_run_as_written_computes_what_openvino_s_does(name: str) -> None:
    """To the last bit, as long as both have convolutions: in windows a sum is taken in another order."""
    model = support.MODELS[name]()
    sounds = support.waveforms()
    plain = [
        OnnxRuntimeBackend({k: p.SerializeToString() for k, p in written(name, t, windows=()).items()}, optimise=False)
        for t in ("openvino", "tensorrt")
    ]
    first = model.graphs[0].name
    outputs = [backend.run(first, feeds(name)) for backend in plain]
    for output, want in outputs[0].items():
        np.testing.assert_array_equal(outputs[1][output], want)
    expected, found = (model.frontend.recognize(backend, sounds) for backend in plain)
    assert found == expected
    assert all(t.text for t in found)


@pytest.mark.parametrize("planes", [0, 1, 2])
@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", support.MODELS)
def test_convolutions_in_windows_compute_what_plain_ones_do(name: str, target: str, planes: int) -> None:
    """Each convolution alone, so that no rounding behind it can differ; in float (no planes) as well."""
    graph = support.MODELS[name]().graphs[0]
    convolutions = [node for node in graph.quantisable() if node.kind == "conv1d"]
    for layer in convolutions:
        chosen = {}
        if planes:
            whole = scheme(name)[layer.name]
            chosen = {layer.name: replace(whole, activations=(replace(whole.activations[0], planes=planes),))}
        ours, plain = (to_onnx(graph, chosen, support.integer_weights(name), TARGETS[t]) for t in (target, "tensorrt"))
        weights = [node.input[1] for node in ours.graph.node if node.op_type == "Conv"]
        # The positional convolution is padded and in groups.
        in_windows = planes in TARGETS[target].windows and not layer.attrs["padding"]
        assert any(w.startswith(layer.weights["weight"]) for w in weights) != in_windows
        want = OnnxRuntimeBackend({"g": plain.SerializeToString()}, optimise=False).run("g", feeds(name))
        for optimise in (True, False):
            found = OnnxRuntimeBackend({"g": ours.SerializeToString()}, optimise=optimise).run("g", feeds(name))
            for output, value in want.items():
                if value.dtype == np.float32:
                    assert support.relative_difference(found[output], value) < 1e-4, (layer.name, output)


@pytest.mark.parametrize("name", support.MODELS)
def test_tensorrt_gets_signed_pairs_right_in_front_of_their_operations(name: str) -> None:
    products = 0
    for proto in written(name, "tensorrt").values():
        onnx.checker.check_model(proto, full_check=True)
        constants = {i.name: i for i in proto.graph.initializer}
        maker = {out: node for node in proto.graph.node for out in node.output}
        int8 = {n for n, i in constants.items() if i.data_type == TensorProto.INT8}
        assert not any(i.data_type == TensorProto.UINT8 for i in constants.values())
        for node in proto.graph.node:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                assert not numpy_helper.to_array(constants[node.input[2]]).any()
            else:
                assert int8.isdisjoint(node.input)
                assert all(maker[i].op_type != "QuantizeLinear" for i in node.input if i in maker)
            if node.op_type in ("Conv", "MatMul"):
                quantised = [i in maker and maker[i].op_type == "DequantizeLinear" for i in node.input[:2]]
                assert all(quantised) or not any(quantised)
                products += all(quantised)
        # A pair's result goes to products alone, or to the difference that makes the second plane.
        for node in proto.graph.node:
            if node.op_type == "DequantizeLinear" and node.input[0] in maker:
                assert {r.op_type for r in proto.graph.node if node.output[0] in r.input} <= {"Conv", "MatMul", "Sub"}
    ops = support.MODELS[name]().ops(matmuls=True)
    assert products == len(ops) + sum(op.node.kind == "conv1d" for op in ops)


@pytest.mark.parametrize("name", support.MODELS)
def test_the_onnx_reference_evaluator_computes_tensorrt_s_file_as_the_simulation_does(name: str) -> None:
    model = support.MODELS[name]()
    graph = model.graphs[0]
    kinds = {op.node.kind: op.name for op in reversed(model.ops(matmuls=True)) if op.graph == graph.name}
    simulator, plain = Simulator(model, matmuls=True), {}
    for layer in (None, *kinds.values()):
        chosen = {} if layer is None else {layer: scheme(name)[layer]}
        backend = simulator.backend(chosen)
        fed = {k: backend.put(v) for k, v in feeds(name).items()}
        want = {k: backend.get(v) for k, v in backend.run(graph.name, fed).items()}
        plain = plain or want
        found = ReferenceEvaluator(written(name, "tensorrt", chosen)[graph.name]).run(list(want), feeds(name))
        for (output, value), got in zip(want.items(), found, strict=True):
            if value.dtype == np.float32:
                effect = support.relative_difference(value, plain[output])
                assert support.relative_difference(got, value) <= 0.1 * effect + 1e-4, layer


@pytest.mark.parametrize("name", support.MODELS)
def test_openvino_has_an_int8_kernel_for_every_product_of_the_plan(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "int8_overflows", lambda: False)
    model = support.MODELS[name]()
    chosen = {op.name: scheme(name)[op.name] for op in model.ops()}
    for graph, proto in written(name, "openvino", chosen).items():
        backend = OpenVinoBackend({graph: proto.SerializeToString()}, threads=1)
        ran = backend.requests[graph].get_compiled_model().get_runtime_model().get_ops()
        told = [(op.get_rt_info()["layerType"].value, op.get_rt_info()["primitiveType"].value) for op in ran]
        kernels = [k for kind, k in told if kind in ("Convolution", "FullyConnected") and k.endswith("I8")]
        ops = [op for op in model.ops() if op.graph == graph]
        assert len(kernels) == len(ops) + sum(op.node.kind == "conv1d" for op in ops), kernels


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_a_convolution_s_bias_reaches_the_layer_that_rounds_its_output(target: str, groups: int) -> None:
    """Also where the steps behind that layer are counted: OpenVINO forgets a bias that its convolution brings."""

    def write(g: Graph) -> str:
        x = g.conv2d("x", "c", padding=1, groups=groups)
        return g.add("mask", g.linear(x, "l"), "lengths", between=1)

    weights = {"c.weight": (4, 4 // groups, 3, 3), "c.bias": (4,), "l.weight": (5, 4), "l.bias": (5,)}
    graph = built(Case(BANDS | {"lengths": ("int64", (2,))}, write, weights))
    graph.weights["c.bias"][:] = torch.tensor([3.0, -3.0, 1.0, -1.0])
    chosen, values = {"l": layer_of(GRID)}, drawn(graph, 11, 0)
    proto = to_onnx(graph, chosen, WeightStore({"l": graph.weights["l.weight"]}), TARGETS[target])
    backend = (OnnxRuntimeBackend if target == "onnxruntime" else OpenVinoBackend)({"case": proto.SerializeToString()})
    found = backend.run("case", {name: value.numpy() for name, value in values.items()})["out0"]
    np.testing.assert_allclose(found, simulated(graph, chosen, values)["out0"].numpy(), rtol=1e-4, atol=2e-5)


@pytest.fixture(scope="module")
def shifted() -> Plan:
    """A plan whose grids have zero points of their own."""
    model, grids = support.graft(), support.scheme("graft", symmetric=False)
    layers = [
        LayerPlan(
            name=op.name,
            graph=op.graph,
            kind=op.node.kind,
            calibrator="mse",
            p=None,
            flagged=False,
            sensitivity=None,
            reason="",
            activations=tuple(
                ActivationPlan(
                    scale=g.scale, zero_point=g.zero_point, bits=g.bits, minimum=-1.0, maximum=1.0, cutoff=1.0
                )
                for g in grids[op.name].activations
            ),
            weight=WeightPlan(bits=8, per="channel", range="max"),
        )
        for op in model.ops()
    ]
    return Plan(
        model=Identity(name="graft", fingerprint=model.fingerprint),
        data={},
        settings=Settings(symmetric=False),
        versions={},
        p=None,
        layers=tuple(layers),
    )


def test_zero_points_are_refused_for_tensorrt_and_taken_by_the_others(shifted: Plan, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"zero point other than 0 in \d+ layers.*tensorrt takes.*symmetric=true"):
        package.write_graphs(support.graft(), shifted, tmp_path, TARGETS["tensorrt"])
    assert not list(tmp_path.iterdir())
    files = package.write_graphs(support.graft(), shifted, tmp_path, TARGETS["openvino"])
    assert [path.name for path in files.values()] == ["model.openvino.onnx"]


def test_an_unknown_target_is_told() -> None:
    with pytest.raises(SettingsError, match="--target coreml. Expected one of onnxruntime, openvino, tensorrt"):
        require_target("coreml")


def test_a_registered_target_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "TARGETS", dict(TARGETS))
    made = target(Target("coreml", signed=True))
    assert require_target("coreml") == made
    assert target(Target("coreml", signed=True)) == made
    with pytest.raises(SettingsError, match="there is a target 'coreml' already"):
        target(Target("coreml"))
