"""A scale a frame in the files: nodes alone and whole models compute what the simulation does, by int8 kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import support
import torch
from test_emitters import CASES, Case, X, built, conv, drawn, layer_of, layers, simulated

from stablequant.errors import ExportError
from stablequant.export import parity
from stablequant.export.targets import TARGETS, Target
from stablequant.export.translate import to_onnx
from stablequant.grid.frame import PerFrame
from stablequant.grid.weights import PerTensor, WeightSpec
from stablequant.network.graph import LOWER_BOUNDS, Graph
from stablequant.quantize.by_frame import by_frame
from stablequant.quantize.scheme import LayerScheme, Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.runtime import openvino
from stablequant.runtime.onnxruntime import DISABLED, OnnxRuntimeBackend
from stablequant.runtime.openvino import OpenVinoBackend
from stablequant.settings import Settings

#: Normal draws are never below minus this.
SHIFT = 6.0
GELU = PerFrame(shift=-LOWER_BOUNDS["gelu"])


def behind_gelu(write: Callable[[Graph, str], str], **weights: tuple[int, ...]) -> Case:
    keys = {key.replace("_", "."): shape for key, shape in weights.items()}
    return Case(X, lambda g: write(g, g.add("activation", "x", function="gelu")), keys)


#: Name -> a graph, its layer with a scale a frame, and how that is rounded.
FRAMES: dict[str, tuple[Case, str, PerFrame]] = {
    **{
        f"{case}{shifted}": (CASES[case], name, spec)
        for case, name in (
            ("linear", "l"),
            ("linear, no bias", "l"),
            ("linear, by heads", "l"),
            ("conv", "c"),
            ("conv, stride", "c"),
            ("conv, no bias", "c"),
            ("embedding, the head's", "head"),
        )
        for shifted, spec in (("", PerFrame()), (", shifted", PerFrame(shift=SHIFT)))
    },
    "conv, one step a window": (conv(1), "c", PerFrame()),
    "conv, windows that do not overlap": (conv(3, stride=3), "c", PerFrame(shift=SHIFT)),
    "conv, windows apart": (conv(2, stride=4), "c", PerFrame()),
    "linear behind GELU": (
        behind_gelu(lambda g, x: g.linear(x, "l"), l_weight=(5, 8), l_bias=(5,)),
        "l",
        GELU,
    ),
    "conv behind GELU": (
        behind_gelu(lambda g, x: g.conv1d(x, "c", stride=2, bias=False), c_weight=(5, 8, 3)),
        "c",
        GELU,
    ),
}


def file(graph: Graph, scheme: Scheme, target: Target) -> bytes:
    proto = to_onnx(graph, scheme, WeightStore(layers(graph)), target)
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString()


def in_runtimes(graph: Graph, scheme: Scheme) -> dict[str, Any]:
    """By name, what runs the graph's file."""
    written = {name: {"case": file(graph, scheme, TARGETS[name])} for name in ("onnxruntime", "openvino")}
    return {
        "as written": OnnxRuntimeBackend(written["onnxruntime"], threads=1, optimise=False),
        "optimised": OnnxRuntimeBackend(written["onnxruntime"], threads=1),
        "OpenVINO": OpenVinoBackend(written["openvino"], threads=1),
    }


def numbers(values: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in values.items()}


@pytest.mark.parametrize("per", [None, PerTensor()], ids=["channel", "tensor"])
@pytest.mark.parametrize("name", FRAMES)
def test_a_node_alone_computes_what_the_simulation_does(name: str, per: PerTensor | None) -> None:
    """Also where its output is the graph's, which is named by the last node written."""
    case, layer, spec = FRAMES[name]
    graph = built(case)
    scheme = {layer: LayerScheme((spec,), WeightSpec() if per is None else WeightSpec(per=per))}
    backends = in_runtimes(graph, scheme)
    for steps in (11, 6):
        values = drawn(graph, steps, 4)
        expected = simulated(graph, scheme, values)
        plain = simulated(graph, {}, values)
        for runtime, backend in backends.items():
            found = backend.run("case", numbers(values))
            for output, value in found.items():
                want = expected[output].numpy()
                assert support.relative_difference(value, want) < 1e-5, (runtime, steps, output)
                assert np.abs(value - plain[output].numpy()).max() > 1e-3, (runtime, output)


def test_rows_of_zeros_are_exact_in_every_runtime() -> None:
    """Nothing is divided by zero, and what comes out is the bias."""
    case = CASES["linear"]
    graph = built(case)
    for spec in (PerFrame(), PerFrame(shift=0.5)):
        backends = in_runtimes(graph, {"l": LayerScheme((spec,), WeightSpec())})
        x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32).clip(-0.5, None)
        x[0, 2] = 0.0
        for runtime, backend in backends.items():
            found = backend.run("case", {"x": x})["out0"]
            assert np.isfinite(found).all()
            np.testing.assert_allclose(found[0, 2], graph.weights["l.bias"].numpy(), rtol=0, atol=2e-6, err_msg=runtime)


def stack(g: Graph) -> str:
    x = g.add("activation", g.conv1d("x", "a"), function="gelu")
    return g.linear(g.add("activation", g.conv1d(x, "b", stride=2, bias=False), function="gelu"), "l")


#: Its batch is free.
STACK = Case(
    {"x": ("float32", ("u", "t", 8))},
    stack,
    {"a.weight": (8, 8, 3), "a.bias": (8,), "b.weight": (8, 8, 2), "l.weight": (5, 8), "l.bias": (5,)},
)


def test_padding_reaches_no_scale_in_any_runtime() -> None:
    graph = built(STACK)
    scheme = {"a": LayerScheme((PerFrame(),), WeightSpec())} | dict.fromkeys("bl", LayerScheme((GELU,), WeightSpec()))
    backends = in_runtimes(graph, scheme)
    x = drawn(graph, 20, 2)["x"].numpy()
    for runtime, backend in backends.items():
        alone = backend.run("case", {"x": x[1:, :13]})["out0"]
        for padding in (0.0, 1e6):
            padded = x.copy()
            padded[1, 13:] = padding
            found = backend.run("case", {"x": padded})["out0"][1:, : alone.shape[1]]
            assert support.relative_difference(found, alone) < 1e-5, (runtime, padding)


def test_layers_that_read_one_value_share_its_codes_and_its_largest_values() -> None:
    def write(g: Graph) -> tuple[str, ...]:
        return tuple(g.linear("x", name, bias=False) for name in "qkv")

    graph = built(Case(X, write, {f"{name}.weight": (6, 8) for name in "qkv"}))
    proto = onnx.load_from_string(
        file(graph, dict.fromkeys("qkv", LayerScheme((PerFrame(),), WeightSpec())), TARGETS["onnxruntime"])
    )
    counted = Counter(node.op_type for node in proto.graph.node)
    assert [counted[kind] for kind in ("ReduceMax", "QuantizeLinear", "MatMul")] == [1, 1, 3]


def test_values_between_two_codes_fall_on_the_side_that_the_simulation_takes() -> None:
    """Both divide by a code's step, largest value over 127: dividing by either first rounds some of these otherwise."""
    graph = built(Case(X, lambda g: g.linear("x", "l", bias=False), {"l.weight": (8, 8)}))
    graph.weights["l.weight"] = torch.eye(8)
    scheme = {"l": LayerScheme((PerFrame(),), WeightSpec())}
    rng = np.random.default_rng(0)
    largest = rng.uniform(0.5, 2.0, (2, 4000, 1)).astype(np.float32)
    x = (largest * (rng.integers(-126, 126, (2, 4000, 8)) + 0.5) / 127).astype(np.float32)
    x[:, :, :1] = largest
    expected = simulated(graph, scheme, {"x": torch.from_numpy(x)})["out0"].numpy()
    backends = in_runtimes(graph, scheme)
    for name in ("as written", "optimised"):
        assert np.abs(backends[name].run("case", {"x": x})["out0"] - expected).max() < 1e-5, name


def test_no_pass_over_many_rows_is_spent_on_magnitudes_or_quotients_in_onnxruntime() -> None:
    graph = built(Case(X, lambda g: g.linear("x", "l"), {"l.weight": (6, 8), "l.bias": (6,)}))
    scheme = {"l": LayerScheme((PerFrame(),), WeightSpec())}

    def kinds(target: str) -> set[str]:
        return {node.op_type for node in onnx.load_from_string(file(graph, scheme, TARGETS[target])).graph.node}

    assert not kinds("onnxruntime") & {"Abs", "Div"}
    assert {"Abs", "Div"} <= kinds("openvino")


def test_convolutions_of_one_value_with_other_windows_have_their_own_codes() -> None:
    def write(g: Graph) -> tuple[str, ...]:
        return g.conv1d("x", "w", bias=False), g.conv1d("x", "n", bias=False, stride=2), g.linear("x", "l", bias=False)

    graph = built(Case(X, write, {"w.weight": (6, 8, 5), "n.weight": (6, 8, 3), "l.weight": (6, 8)}))
    scheme = dict.fromkeys("wnl", LayerScheme((PerFrame(),), WeightSpec()))
    values = drawn(graph, 11, 0)
    expected = simulated(graph, scheme, values)
    for backend in in_runtimes(graph, scheme).values():
        for output, value in backend.run("case", numbers(values)).items():
            assert support.relative_difference(value, expected[output]) < 1e-5


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "layer", "activations"),
    [
        ("conv, groups", "c", 1),
        ("positional conv, even", "c", 1),
        ("conv, a group a channel", "c", 1),
        ("matmul", "m", 2),
    ],
)
def test_a_product_and_a_padded_or_grouped_convolution_are_refused(case: str, layer: str, activations: int) -> None:
    graph = built(CASES[case])
    refused = LayerScheme((PerFrame(),) * activations, layer_of(PerFrame(), activations).weight)
    with pytest.raises(ExportError, match=rf"{layer} \(\w+\) has a scale a frame.*static grid"):
        file(graph, {layer: refused}, TARGETS["onnxruntime"])


def test_tensorrt_refuses_a_scale_a_frame_with_the_layer_s_name() -> None:
    graph = built(CASES["linear"])
    with pytest.raises(ExportError, match=r"l has a scale a frame.*calibrated scales.*tensorrt takes.*onnxruntime or"):
        file(graph, {"l": LayerScheme((PerFrame(),), WeightSpec())}, TARGETS["tensorrt"])


def test_a_width_that_no_kernel_has_is_refused() -> None:
    with pytest.raises(ExportError, match="l has weights of 8 bits and activations of 4, a scale a frame"):
        file(built(CASES["linear"]), {"l": LayerScheme((PerFrame(4),), WeightSpec())}, TARGETS["onnxruntime"])


# -- whole models -----------------------------------------------------------------------------------------------------


@cache
def scheme(name: str) -> dict[str, LayerScheme]:
    model = support.MODELS[name]()
    found = by_frame(model, support.histograms(name), Settings.parse({"scales": "frame"}))
    return {op.name: found[op.name] for op in model.ops()}


def frames(name: str, graph: str) -> list[str]:
    """Layers of a graph with a scale a frame."""
    names = [op.name for op in support.MODELS[name]().ops() if op.graph == graph]
    return [layer for layer in names if isinstance(scheme(name)[layer].activations[0], PerFrame)]


@cache
def files(name: str, target: str) -> dict[str, bytes]:
    return {k: p.SerializeToString() for k, p in support.onnx_files(name, scheme(name), TARGETS[target]).items()}


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", support.MODELS)
def test_whole_models_pass_the_gate_of_an_export(name: str, target: str) -> None:
    model = support.MODELS[name]()
    written = files(name, target)
    runs = OnnxRuntimeBackend(written, threads=1) if target == "onnxruntime" else OpenVinoBackend(written, threads=1)
    plain = OnnxRuntimeBackend(written, threads=1, optimise=False)
    simulation = Simulator(model).backend(scheme(name))
    found = parity.compare(model.frontend, simulation, plain, (target, runs), support.waveforms()[:2])
    assert all(p.passed and p.limit < 0.3 for p in found), found


@pytest.mark.parametrize("name", support.MODELS)
def test_onnx_runtime_has_an_int8_kernel_for_every_layer_with_a_scale_a_frame(name: str, tmp_path: Path) -> None:
    for graph, written in files(name, "onnxruntime").items():
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{graph}.onnx")
        onnxruntime.InferenceSession(written, options, disabled_optimizers=list(DISABLED))
        optimised = onnx.load(options.optimized_model_filepath).graph
        kernels = sum(node.op_type == "MatMulIntegerToFloat" for node in optimised.node)
        assert kernels == len(frames(name, graph)) > 10


@pytest.mark.parametrize("name", support.MODELS)
def test_openvino_has_an_int8_kernel_for_every_layer_with_a_scale_a_frame(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "int8_overflows", lambda: False)
    for graph, written in files(name, "openvino").items():
        backend = OpenVinoBackend({graph: written}, threads=1)
        ran = backend.requests[graph].get_compiled_model().get_runtime_model().get_ops()
        told = [(op.get_rt_info()["layerType"].value, op.get_rt_info()["primitiveType"].value) for op in ran]
        kernels = [kind for kind, p in told if kind in ("Convolution", "FullyConnected") and p.endswith("I8")]
        # The waveform's convolution has two, one for each of its codes.
        planned = [scheme(name)[op.name] for op in support.MODELS[name]().ops() if op.graph == graph]
        assert len(kernels) == sum(layer.activations[0].planes for layer in planned)
