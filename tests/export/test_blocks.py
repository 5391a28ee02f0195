"""A scale a block in the files: nodes alone and a whole decoder compute what the simulation does, in both runtimes."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
import support
import torch
from test_emitters import CASES, Case, built, drawn, simulated
from test_frames import file, in_runtimes, numbers

from stablequant.errors import ExportError
from stablequant.export import parity
from stablequant.export.emitters.blocks import packed
from stablequant.export.targets import TARGETS
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import PerFrame
from stablequant.grid.unrounded import Unrounded
from stablequant.grid.weights import PerChannel, PerGroup, WeightSpec
from stablequant.network.graph import Node
from stablequant.quantize.bits import average_bits
from stablequant.quantize.by_frame import by_frame
from stablequant.quantize.scheme import LayerScheme
from stablequant.quantize.simulate import Simulator, fake_quantize
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.openvino import OpenVinoBackend
from stablequant.settings import Settings


def layer(size: int, *, rounded: bool = True, **weight: Any) -> LayerScheme:
    spec = PerBlock(size=size) if rounded else Unrounded()
    return LayerScheme((spec,), WeightSpec(**{"per": PerGroup(size), **weight}))


def linear(channels: int, *, out: int = 6, bias: bool = True) -> Case:
    weights = {"l.weight": (out, channels)} | ({"l.bias": (out,)} if bias else {})
    return Case({"x": ("float32", (2, "t", channels))}, lambda g: g.linear("x", "l", bias=bias), weights)


#: Name -> a graph, its layer, and the size of its blocks.
BLOCKS = {
    "linear": (CASES["linear"], "l", 16),
    "linear, no bias": (CASES["linear, no bias"], "l", 16),
    "linear, by heads": (CASES["linear, by heads"], "l", 16),
    "embedding, the head's": (CASES["embedding, the head's"], "head", 16),
    "whole blocks": (linear(96), "l", 32),
    "a last block that is short": (linear(72), "l", 32),
    "one block": (linear(128), "l", 128),
}


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("form", [{}, {"bits": 4}, {"bits": 4, "rounded": False}, {"rounded": False}], ids=str)
def test_a_node_alone_computes_what_the_simulation_does(name: str, form: dict[str, Any]) -> None:
    case, of, size = BLOCKS[name]
    graph, scheme = built(case), {of: layer(size, **form)}
    backends = in_runtimes(graph, scheme)
    for steps in (11, 1):
        values = drawn(graph, steps, 1)
        expected, plain = simulated(graph, scheme, values), simulated(graph, {}, values)
        for runtime, backend in backends.items():
            for output, value in backend.run("case", numbers(values)).items():
                want = expected[output].numpy()
                assert support.relative_difference(value, want) < 1e-5, (runtime, steps, output)
                assert np.abs(value - plain[output].numpy()).max() > 1e-4, (runtime, output)


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("channels", [96, 300])
def test_onnx_runtime_rounds_its_input_value_by_value_as_the_simulation(channels: int, size: int) -> None:
    """By a weight that gives out its input: blocks with ties, of zeros, cut off by the end of the row, large and small."""
    case = linear(channels, out=channels, bias=False)
    graph = built(Case({"x": ("float32", ("u", "t", channels))}, case.write, case.weights))
    graph.weights["l.weight"] = torch.eye(channels) * 127.0  # each a code of 127 with a scale of 1
    backend = OnnxRuntimeBackend({"case": file(graph, {"l": layer(size)}, TARGETS["onnxruntime"])}, threads=1)
    random = np.random.default_rng(0)
    x = (random.normal(size=(1, 40, channels)) * np.exp(random.normal(size=(1, 40, channels)))).astype(np.float32)
    x[0, :10, :4] = 127.0, 0.5, 1.5, -2.5
    x[0, 5:15, :size] = 0.0
    x[0, 20] *= np.float32(1e-20)
    expected = rounded(x, size)
    blocks = np.pad(np.abs(x), ((0, 0), (0, 0), (0, -channels % size))).reshape(1, 40, -1, size).max(-1)
    step = np.repeat(blocks / 127, size, 2)[..., :channels]
    for rows in (
        slice(0, 1),
        slice(5, 6),
        slice(10, 11),
        slice(20, 21),
        slice(None),
    ):  # a row alone has a kernel of its own
        found = backend.run("case", {"x": x[:, rows]})["out0"] / 127
        # What the kernel adds in float is off by little; a code that fell elsewhere would be off by a step.
        slack = 0.2 * step[:, rows] + 1e-6 * np.abs(x[:, rows]).max(-1, keepdims=True)
        assert (np.abs(found - expected[:, rows]) <= slack).all()
    assert not backend.run("case", {"x": np.zeros((1, 3, channels), np.float32)})["out0"].any()


def rounded(x: np.ndarray, size: int) -> np.ndarray:
    return fake_quantize(torch.from_numpy(x), PerBlock(size=size), Node("linear", "l", ("x",), ("y",))).numpy()


# -- a whole decoder --------------------------------------------------------------------------------------------------


@cache
def scheme() -> dict[str, LayerScheme]:
    """Of Moonshine: block by block in the decoder."""
    model = support.moonshine()
    found = by_frame(model, support.histograms("moonshine"), Settings.parse({"scales": "frame", "decoder": "block"}))
    return {op.name: found[op.name] for op in model.ops()}


@cache
def files(target: str) -> dict[str, onnx.ModelProto]:
    return support.onnx_files("moonshine", scheme(), TARGETS[target])


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_a_model_with_such_a_decoder_passes_the_gate_of_an_export(target: str) -> None:
    model, written = support.moonshine(), {name: proto.SerializeToString() for name, proto in files(target).items()}
    runs = OnnxRuntimeBackend(written, threads=1) if target == "onnxruntime" else OpenVinoBackend(written, threads=1)
    plain = OnnxRuntimeBackend(written, threads=1, optimise=False)
    simulation = Simulator(model).backend(scheme())
    found = parity.compare(model.frontend, simulation, plain, (target, runs), support.waveforms()[:2])
    assert all(p.passed and p.limit < 0.3 for p in found), found


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_a_decoder_s_weights_are_stored_once_in_integers(target: str) -> None:
    """The tied table serves head and embedding; a code takes a byte, and a scale four for every block."""
    decoder = support.moonshine().graph("decoder")
    tensors = {t.name: t for t in files(target)["decoder"].graph.initializer}
    expected = floats = 0
    for node in decoder.nodes:
        if node.name in scheme():
            weight = decoder.weights[node.weights["weight"]]
            (spec,) = scheme()[node.name].activations
            expected += len(weight) * -(-weight.shape[1] // spec.size) * (spec.size + 4)
        left = [key for role, key in node.weights.items() if role != "weight" or node.kind == "layer_norm"]
        floats += sum(4 * decoder.weights[key].numel() for key in left)
    stored = sum(len(t.raw_data) for t in tensors.values())
    assert expected <= stored < expected + floats + 4096
    table = {name for name in tensors if name.startswith("model.decoder.embed_tokens")}
    assert len(table) == 2
    if target == "onnxruntime":
        kinds = Counter(node.op_type for node in files(target)["decoder"].graph.node)
        assert kinds["MatMulNBits"] == sum(op.graph == "decoder" for op in support.moonshine().ops())
        assert not kinds["QuantizeLinear"]


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_a_model_of_four_bits_passes_the_gate_and_is_as_small_as_its_bits_say(target: str) -> None:
    model = support.graft()
    widths = Settings.parse({"bits": "w4a8", "range": "max", "scales": "frame"})
    found = by_frame(model, support.histograms("graft"), widths)
    scheme = {op.name: found[op.name] for op in model.ops()}
    assert {(op.node.kind, scheme[op.name].weight.bits) for op in model.ops()} == {("linear", 4), ("conv1d", 8)}  # type: ignore[union-attr]
    (proto,) = support.onnx_files("graft", scheme, TARGETS[target]).values()
    stored = {t.name: len(t.raw_data) for t in proto.graph.initializer}
    integers = sum(n for name, n in stored.items() if ".blocks" in name or ".int8" in name or name.endswith(".scale"))
    weights = model.layer_weights()
    told = average_bits(weights, scheme) / 8 * sum(weight.numel() for weight in weights.values())
    assert integers == pytest.approx(told, rel=1e-3)
    written = {"model": proto.SerializeToString()}
    runs = OnnxRuntimeBackend(written, threads=1) if target == "onnxruntime" else OpenVinoBackend(written, threads=1)
    plain = OnnxRuntimeBackend(written, threads=1, optimise=False)
    compared = parity.compare(
        model.frontend, Simulator(model).backend(scheme), plain, (target, runs), support.waveforms()[:2]
    )
    assert all(p.passed and p.limit < 0.3 for p in compared), compared


# -- what is refused, and packed --------------------------------------------------------------------------------------


def test_tensorrt_refuses_a_scale_a_block_with_the_layer_s_name() -> None:
    with pytest.raises(ExportError, match=r"l has a scale a block.*calibrated scales.*tensorrt takes.*onnxruntime or"):
        file(built(CASES["linear"]), {"l": layer(16)}, TARGETS["tensorrt"])


@pytest.mark.parametrize(
    ("case", "of", "found", "message"),
    [
        ("conv", "c", layer(16), r"c \(conv1d\) has a scale a block.*linear layers alone"),
        (
            "linear",
            "l",
            layer(16, per=PerGroup(32)),
            r"l \(linear\) has .* every 16 inputs and weights in other groups",
        ),
        ("linear", "l", layer(16, per=PerChannel()), "every 16 inputs and weights in other groups"),
        (
            "linear",
            "l",
            layer(16, bits=6),
            r"l has weights of 6 bits in groups of 16 .* 8, a scale a block.*4 or 8 bits in",
        ),
        ("linear", "l", layer(24), r"l has weights of 8 bits in groups of 24 .*groups of 16, 32, 64, 128, 256"),
        (
            "linear",
            "l",
            LayerScheme((PerBlock(4, 16),), WeightSpec(4, PerGroup(16))),
            r"activations of 4.*beside .* 8 or 16",
        ),
        (
            "linear",
            "l",
            LayerScheme((PerFrame(),), WeightSpec(per=PerGroup(16))),
            r"groups of 16 .* 8, a scale a frame",
        ),
        (
            "linear",
            "l",
            LayerScheme((PerFrame(4),), WeightSpec(4)),
            r"weights of 4 bits and activations of 4, .*8 bits of",
        ),
        ("linear", "l", LayerScheme((Unrounded(),), WeightSpec()), r"8 bits and activations of 16, an input in float"),
        ("conv", "c", LayerScheme((Unrounded(),), WeightSpec(4, PerGroup(16))), r"c \(conv1d\) has an input in float"),
    ],
)
def test_what_no_kernel_has_is_refused(case: str, of: str, found: LayerScheme, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        file(built(CASES[case]), {of: found}, TARGETS["onnxruntime"])


@pytest.mark.parametrize("bits", [4, 8])
def test_onnx_runtime_reads_packed_codes_as_they_were(bits: int) -> None:
    """At any width that its operator has, by a product with one code at a time; what fills up a block counts for nothing."""
    random = np.random.default_rng(0)
    codes = random.integers(-(1 << (bits - 1)), 1 << (bits - 1), (5, 24)).astype(np.int8)
    stored = packed(codes, 16, bits)
    assert stored.shape == (5, 2, 2 * bits)
    weights = [onnx.numpy_helper.from_array(a, n) for a, n in ((stored, "q"), (np.ones((5, 2), np.float32), "s"))]
    width = {"K": 24, "N": 5, "bits": bits, "block_size": 16}
    node = onnx.helper.make_node("MatMulNBits", ["x", "q", "s"], ["y"], domain="com.microsoft", **width)
    ends = [onnx.helper.make_tensor_value_info(n, 1, s) for n, s in (("x", ["m", 24]), ("y", ["m", 5]))]
    graph = onnx.helper.make_graph([node], "packed", ends[:1], ends[1:], weights)
    domains = [onnx.helper.make_opsetid(name, version) for name, version in (("", 21), ("com.microsoft", 1))]
    file = onnx.helper.make_model(graph, opset_imports=domains, ir_version=10).SerializeToString()
    found = OnnxRuntimeBackend({"g": file}, threads=1).run("g", {"x": np.eye(24, dtype=np.float32)})["y"]
    assert np.allclose(found, codes.T, atol=1e-4)
