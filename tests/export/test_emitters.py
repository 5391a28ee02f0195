"""Every kind of node alone: what ONNX Runtime makes of its ONNX form is what its kernel computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from stablequant.errors import ExportError
from stablequant.export.emitters import EMITTERS
from stablequant.export.translate import to_onnx
from stablequant.families.model import SpeechModel
from stablequant.grid.affine import QuantParams
from stablequant.grid.weights import Granularity, PerChannel, PerGroup, PerTensor, WeightSpec
from stablequant.network.activations import ACTIVATIONS
from stablequant.network.execute import Executor
from stablequant.network.graph import Graph, Input, Output
from stablequant.network.kernels import KERNELS
from stablequant.quantize.scheme import LayerScheme, Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend

#: Draws of one graph's inputs: time steps differ, so that no size is written into the file.
STEPS = (11, 6)


@dataclass
class Case:
    """A graph of one or two nodes.

    Attributes:
        inputs: Name -> dtype and shape; "t" and "u" in it are numbers of time steps.
        write: Adds the nodes and returns their outputs.
        weights: Key -> shape.
        lengths: Valid steps of the two utterances: how many are missing from the first input's.
        padded: Whether what stands in padded steps of the outputs may differ, since nothing reads it.
    """

    inputs: Mapping[str, tuple[str, tuple[Any, ...]]]
    write: Callable[[Graph], Any]
    weights: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    missing: tuple[int, int] = (0, 3)
    padded: bool = False


X = {"x": ("float32", (2, "t", 8))}
LENGTHS = {"lengths": ("int64", (2,))}
SCORES = {"x": ("float32", (2, 4, "u", "t"))}
HEADS = {"x": ("float32", (2, 4, "t", 6))}


def conv(kernel: int, *, bias: bool = True, channels: int = 8, out: int = 12, **attrs: Any) -> Case:
    weights = {"c.weight": (out, channels // attrs.get("groups", 1), kernel)} | ({"c.bias": (out,)} if bias else {})
    return Case(X, lambda g: g.conv1d("x", "c", bias=bias, **attrs), weights)


def positions(kernel: int) -> Case:
    """The positional convolution as the CTC models have it: same length out as in."""
    return conv(kernel, out=8, groups=4, padding=kernel // 2, trim=1 - kernel % 2)


def linear(bias: bool) -> Case:
    weights = {"l.weight": (5, 8)} | ({"l.bias": (5,)} if bias else {})
    return Case(X, lambda g: g.linear("x", "l", bias=bias), weights)


def norm(groups: int) -> Case:
    write = lambda g: g.group_norm("x", "n", "lengths", groups=groups, eps=1e-3)  # noqa: E731
    return Case(X | LENGTHS, write, {"n.weight": (8,), "n.bias": (8,)}, padded=True)


def softmax(extras: Mapping[str, str], causal: bool, more: Mapping[str, Any] | None = None) -> Case:
    def write(g: Graph) -> Any:
        return g.add("attention_softmax", "x", *extras.values(), extras=tuple(extras), causal=causal)

    return Case(SCORES | dict(more or {}), write)


def rotary(past: bool) -> Case:
    def write(g: Graph) -> Any:
        cos, sin = g.add_many(
            "rotary_tables", "like", *(["past"] if past else []), count=2, weights={"frequencies": "f"}
        )
        return cos, sin, g.add("rotary", "x", cos, sin, weights={"rotation": "r"})

    inputs = {"like": ("float32", (2, "t", 3))} | HEADS
    return Case(inputs | ({"past": ("float32", (2, 4, "u", 6))} if past else {}), write, {"f": (6,), "r": (6, 6)})


def learned(past: bool) -> Case:
    write = lambda g: g.add("positions", "x", *(["past"] if past else []), weights={"table": "p"})  # noqa: E731
    return Case(X | ({"past": ("float32", (2, 4, "u", 6))} if past else {}), write, {"p": (20, 8)})


def relative(reach: int) -> Case:
    write = lambda g: g.add("relative_bias", "x", weights={"table": "t"}, reach=reach)  # noqa: E731
    return Case(X, write, {"t": (2 * reach + 1, 4)})


def product(transpose: bool, scale: float) -> Case:
    inner = ("u", "t") if not transpose else ("u", 6)
    inputs = {"a": ("float32", (2, 4, *inner)), "b": ("float32", (2, 4, "t", 6))}
    return Case(inputs, lambda g: g.add("matmul", "a", "b", name="m", transpose=transpose, scale=scale))


def by_relative_position(g: Graph) -> Any:
    sinusoids = g.add("relative_sinusoids", "x", weights={"frequencies": "f"})
    keys = g.add("split_heads", sinusoids, heads=4)
    scores = g.add("matmul", "q", keys, name="m", transpose=True, scale=0.5)
    return sinusoids, g.add("relative_shift", scores)


def conv2d(kernel: int, *, groups: int = 1, stride: int = 1) -> Case:
    write = lambda g: g.conv2d("x", "c", stride=stride, padding=kernel // 2, groups=groups)  # noqa: E731
    return Case(BANDS, write, {"c.weight": (4, 4 // groups, kernel, kernel), "c.bias": (4,)})


BANDS = {"x": ("float32", (2, 6, "t", 4))}
SHARED = {"e": (7, 8)}


def shared(g: Graph) -> Any:
    x = g.add("embedding", "ids", name="embed", weights={"weight": "e"}, shares="head")
    return x, g.add("linear", g.add("activation", x, function="tanh"), name="head", weights={"weight": "e"})


CASES: dict[str, Case] = {
    "identity": Case(X, lambda g: g.add("identity", "x")),
    "unsqueeze_last": Case({"x": ("float32", (2, "t"))}, lambda g: g.add("unsqueeze_last", "x")),
    "linear": linear(True),
    "linear, no bias": linear(False),
    "rotate": Case(X, lambda g: g.add("rotate", "x", name="r", weights={"weight": "r"}), {"r": (8, 8)}),
    "linear, by heads": Case(HEADS, lambda g: g.linear("x", "l"), {"l.weight": (2, 6), "l.bias": (2,)}),
    "conv": conv(3),
    "conv, stride": conv(5, stride=3),
    "conv, no bias": conv(2, bias=False, stride=2),
    "conv, groups": conv(3, groups=4, padding=1),
    "conv, a group a channel": conv(3, groups=8, out=8),
    "positional conv, even": positions(4),
    "positional conv, even and wider than the audio": positions(16),
    "positional conv, odd": positions(5),
    "positional conv, one step": positions(1),
    "conv, strided positions": conv(6, out=8, groups=4, stride=2, padding=3, trim=2),
    "conv, looking back alone": conv(3, out=8, groups=8, padding=2, trim=2),
    "conv2d": conv2d(3, stride=2),
    "conv2d, a group a channel": conv2d(3, groups=4, stride=2),
    "conv_lengths, padded": Case(
        LENGTHS, lambda g: g.add("conv_lengths", "lengths", kernel=3, stride=2, padding=1), missing=(0, 10)
    ),
    "average_pool": Case(X, lambda g: g.add("average_pool", "x", factor=2)),
    "upsample": Case(
        {"x": ("float32", (2, "t", 8)), "like": ("float32", (2, 25, 3))} | LENGTHS,
        lambda g: g.add("upsample", "x", "lengths", "like", factor=2, channels=4),
    ),
    "conv_lengths": Case(LENGTHS, lambda g: g.add("conv_lengths", "lengths", kernel=7, stride=3)),
    "conv_lengths, shorter than the kernel": Case(
        LENGTHS, lambda g: g.add("conv_lengths", "lengths", kernel=10, stride=2), missing=(2, 9)
    ),
    "mask": Case(X | LENGTHS, lambda g: g.add("mask", "x", "lengths")),
    "mask, by bands": Case(BANDS | LENGTHS, lambda g: g.add("mask", "x", "lengths", between=1)),
    "layer_norm": Case(X, lambda g: g.layer_norm("x", "n", 1e-3), {"n.weight": (8,), "n.bias": (8,)}),
    "layer_norm, no bias": Case(X, lambda g: g.layer_norm("x", "n", bias=False), {"n.weight": (8,)}),
    "group_norm, one group": norm(1),
    "group_norm, a group a channel": norm(8),
    **{f"activation, {f}": Case(X, lambda g, f=f: g.add("activation", "x", function=f)) for f in ACTIVATIONS},
    "add": Case(X | {"y": ("float32", (2, "t", 8))}, lambda g: g.add("add", "x", "y")),
    "mul": Case(
        {"gate": ("float32", (2, 4, "t", 1)), "bias": ("float32", (4, "t", "t"))},
        lambda g: g.add("mul", "gate", "bias"),
    ),
    "chunk": Case(X, lambda g: g.add_many("chunk", "x", count=2)),
    "split_heads": Case(X, lambda g: g.add("split_heads", "x", heads=4)),
    "merge_heads": Case(HEADS, lambda g: g.add("merge_heads", "x")),
    "matmul": product(False, 1.0),
    "matmul, turned and scaled": product(True, 6**-0.5),
    "softmax": softmax({}, False),
    "softmax, padding": softmax({"lengths": "lengths"}, False, LENGTHS),
    "softmax, bias": softmax({"bias": "b"}, False, {"b": ("float32", (2, 4, "u", "t"))}),
    "softmax, padding and bias": softmax(
        {"lengths": "lengths", "bias": "b"}, False, LENGTHS | {"b": ("float32", (4, "u", "t"))}
    ),
    "softmax, causal with a past": softmax({}, True),
    "softmax, causal without a past": Case(
        {"x": ("float32", (2, 4, "t", "t"))}, lambda g: g.add("attention_softmax", "x", extras=(), causal=True)
    ),
    "softmax, causal, one query": Case(
        {"x": ("float32", (2, 4, 1, "t"))}, lambda g: g.add("attention_softmax", "x", extras=(), causal=True)
    ),
    "rotary": rotary(False),
    "rotary, after a past": rotary(True),
    "embedding": Case(
        {"ids": ("int64", (2, "t"))}, lambda g: g.add("embedding", "ids", weights={"weight": "e"}), {"e": (7, 8)}
    ),
    "embedding, the head's": Case({"ids": ("int64", (2, "t"))}, shared, SHARED),
    "append_steps": Case(HEADS | {"past": ("float32", (2, 4, "u", 6))}, lambda g: g.add("append_steps", "past", "x")),
    "positions": learned(False),
    "positions, after a past": learned(True),
    "relative_bias, within reach": relative(20),
    "relative_bias, beyond reach": relative(3),
    "relative positions": Case(X | {"q": ("float32", (2, 4, "t", 2))}, by_relative_position, {"f": (4,)}),
    "by_distance": Case({"x": ("float32", (2, 4, "t", 7))}, lambda g: g.add("by_distance", "x", back=4, ahead=2)),
    "offset": Case(HEADS, lambda g: g.add("offset", "x", weights={"offset": "o"}), {"o": (4, 1, 6)}),
    "relative_gate": Case(
        {"x": ("float32", (2, 4, "t", 2))},
        lambda g: g.add("relative_gate", "x", weights={"constant": "c"}),
        {"c": (1, 4, 1, 1)},
    ),
}


def built(case: Case) -> Graph:
    generator = torch.Generator().manual_seed(3)
    graph = Graph("case", {k: torch.randn(shape, generator=generator) for k, shape in case.weights.items()})
    for name, (dtype, shape) in case.inputs.items():
        graph.inputs.append(Input(name, dtype, shape))
    outputs = case.write(graph)
    outputs = (outputs,) if isinstance(outputs, str) else outputs
    for number, value in enumerate(outputs):
        graph.output(value, f"out{number}", ())
    values = Executor(graph).run(drawn(graph, STEPS[0], 2))
    graph.outputs = {name: _declared(name, values[name]) for name in graph.outputs}
    return graph


def _declared(name: str, value: Tensor) -> Output:
    """As many free axes as the output has, and its type."""
    dtype = "int64" if value.dtype == torch.int64 else "float32"
    return Output(name, dtype, tuple(f"{name}_{i}" for i in range(value.dim())))


def drawn(graph: Graph, steps: int, past: int, missing: tuple[int, int] = (0, 3)) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(steps)
    sizes = {"t": steps, "u": past}
    values = {}
    for spec in graph.inputs:
        shape = [sizes.get(axis, axis) if isinstance(axis, str) else axis for axis in spec.shape]
        if spec.name == "lengths":
            values[spec.name] = torch.tensor([max(1, steps - m) for m in missing])
        elif spec.dtype == "int64":
            values[spec.name] = torch.randint(0, 7, shape, generator=generator)
        else:
            values[spec.name] = torch.randn(shape, generator=generator)
    return values


def written(graph: Graph, scheme: Scheme | None = None) -> onnx.ModelProto:
    return to_onnx(graph, scheme or {}, WeightStore(layers(graph)))


def layers(graph: Graph) -> dict[str, Tensor]:
    return {n.name: graph.weights[n.weights["weight"]] for n in graph.quantisable()}


def in_onnx(proto: onnx.ModelProto, values: Mapping[str, Tensor], *, optimise: bool = True) -> dict[str, Any]:
    onnx.checker.check_model(proto, full_check=True)
    backend = OnnxRuntimeBackend({"case": proto.SerializeToString()}, optimise=optimise)
    return backend.run("case", {name: value.numpy() for name, value in values.items()})


@pytest.mark.parametrize("name", CASES)
def test_onnx_computes_what_the_kernel_does(name: str) -> None:
    case = CASES[name]
    graph = built(case)
    proto = written(graph)
    for steps, past in zip(STEPS, (2, 4), strict=True):
        values = drawn(graph, steps, past, case.missing)
        expected = Executor(graph).run(values)
        found = in_onnx(proto, values)
        assert found.keys() == set(graph.outputs)
        for output, value in found.items():
            want = expected[output].numpy()
            assert value.shape == want.shape
            if case.padded:
                within = np.arange(steps) < values["lengths"].numpy()[:, None]
                value, want = value[within], want[within]
            np.testing.assert_allclose(value, want, rtol=1e-4, atol=2e-5)


def test_every_kind_of_node_has_an_emitter_and_a_case() -> None:
    # Fused attention is the simulation's alone: the file is written from the graph as the model gives it.
    # Attention of one target's is the file's alone (tests/jobs/test_whisper.py compares it with the simulation).
    one = {"multi_head_attention"}
    assert set(EMITTERS) - one == set(KERNELS) - {"attention"}
    tested = {node.kind for case in CASES.values() for node in built(case).nodes}
    assert tested == set(EMITTERS) - one


def test_without_a_past_there_is_nothing_of_it_in_the_cache() -> None:
    graph = built(CASES["append_steps"])
    values = drawn(graph, 5, 0)
    found = in_onnx(written(graph), values)
    assert np.array_equal(found["out0"], values["x"].numpy())


def test_the_last_positions_are_the_ends_of_the_table_wherever_it_is_cut_short() -> None:
    graph = Graph("g", {"table": torch.arange(6.0)[:, None]})
    x = graph.input("x", "float32", ("batch", "steps", 1))
    graph.output(graph.add("positions", x, weights={"table": "table"}, last=2), "out0", ("steps", 1))
    graph.any_length = True
    for steps, rows in ((4, [0, 1, 4, 5]), (6, [0, 1, 2, 3, 4, 5]), (2, [4, 5])):
        values = {"x": torch.zeros(1, steps, 1)}
        assert Executor(graph).run(values)["out0"].flatten().tolist() == rows
        assert in_onnx(written(graph), values)["out0"].flatten().tolist() == rows


def test_positions_begin_at_zero_without_a_past_and_after_it_with_one() -> None:
    graph = built(CASES["rotary, after a past"])
    proto = written(graph)
    whole = in_onnx(proto, drawn(graph, 9, 0))
    rest = in_onnx(proto, drawn(graph, 5, 4))
    np.testing.assert_allclose(rest["out0"], whole["out0"][4:], atol=2e-6)


def test_groups_that_no_model_has_are_refused_and_not_computed_wrong() -> None:
    with pytest.raises(ExportError, match="2 groups of 8 channels"):
        written(built(norm(2)))


# -- in int8 -----------------------------------------------------------------------------------------------------------

GRID = QuantParams(2.5 / 127)
SHIFTED = QuantParams(3.5 / 255, -100)
CHANNEL = PerChannel()

QUANTISED = {
    "linear": ("l", 1),
    "linear, no bias": ("l", 1),
    "linear, by heads": ("l", 1),
    "conv, stride": ("c", 1),
    "conv, no bias": ("c", 1),
    "conv, groups": ("c", 1),
    "positional conv, even": ("c", 1),
    "conv, strided positions": ("c", 1),
    "conv2d": ("c", 1),
    "conv2d, a group a channel": ("c", 1),
    "matmul": ("m", 2),
    "matmul, turned and scaled": ("m", 2),
    "embedding, the head's": ("head", 1),
}


def layer_of(grid: QuantParams, activations: int = 1, per: Granularity = CHANNEL) -> LayerScheme:
    """A layer with ``grid`` for its activations; a product of two has no weight."""
    return LayerScheme((grid,) * activations, WeightSpec(per=per) if activations == 1 else None)


def simulated(graph: Graph, scheme: Scheme, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    model = SpeechModel("none", None, None, (graph,), "", "", 0)  # type: ignore[arg-type]
    return Executor(graph).run(values, Simulator(model, matmuls=True).operands(scheme))


@pytest.mark.parametrize("grid", [GRID, SHIFTED], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize("per", [CHANNEL, PerTensor()])
@pytest.mark.parametrize("name", QUANTISED)
def test_the_int8_form_computes_what_the_simulation_does(name: str, per: Granularity, grid: QuantParams) -> None:
    layer, activations = QUANTISED[name]
    graph = built(CASES[name])
    scheme = {layer: layer_of(grid, activations, per)}
    proto = written(graph, scheme)
    values = drawn(graph, 11, 4)
    expected = simulated(graph, scheme, values)
    plain = Executor(graph).run(values)
    found = in_onnx(proto, values, optimise=False)
    for output, value in found.items():
        np.testing.assert_allclose(value, expected[output].numpy(), rtol=1e-4, atol=2e-5)
        assert np.abs(value - plain[output].numpy()).max() > 1e-3


@pytest.mark.parametrize("per", [CHANNEL, PerTensor()])
def test_the_shared_weight_is_stored_once_and_in_int8(per: Granularity) -> None:
    graph = built(CASES["embedding, the head's"])
    proto = written(graph, {"head": layer_of(GRID, per=per)})
    stored = {i.name: (i.data_type, list(i.dims)) for i in proto.graph.initializer}
    assert stored["e.int8"] == (onnx.TensorProto.INT8, [8, 7])
    assert stored["e.scale"] == (onnx.TensorProto.FLOAT, [7] if per == PerChannel() else [])
    assert [name for name, (_, dims) in stored.items() if int(np.prod(dims)) >= 56] == ["e.int8"]


def test_a_group_norm_between_convolutions_in_windows_is_that_of_the_simulation_and_sums_by_a_product() -> None:
    def write(g: Graph) -> Any:
        x = g.group_norm(g.conv1d("x", "c", bias=False), "n", "lengths", groups=8, eps=1e-3)
        return g.conv1d(x, "d", bias=False)

    weights = {"c.weight": (8, 8, 1), "n.weight": (8,), "n.bias": (8,), "d.weight": (8, 8, 1)}
    graph = built(Case(X | LENGTHS, write, weights))
    scheme = {"c": layer_of(GRID), "d": layer_of(GRID)}
    proto = written(graph, scheme)
    assert "ReduceSum" not in {node.op_type for node in proto.graph.node}
    values = drawn(graph, 11, 0)
    expected = simulated(graph, scheme, values)["out0"].numpy()
    for optimise in (True, False):
        found = in_onnx(proto, values, optimise=optimise)["out0"]
        for row, want, steps in zip(found, expected, values["lengths"].tolist(), strict=True):
            np.testing.assert_allclose(row[:steps], want[:steps], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (LayerScheme((GRID,), WeightSpec(per=PerGroup(4))), "l has weights of 8 bits in groups of 4"),
        (LayerScheme((GRID,), WeightSpec(bits=4)), "l has weights of 4 bits and activations of 8, calibrated scales"),
        (LayerScheme((QuantParams(0.1, bits=4),), WeightSpec()), "l has weights of 8 bits and activations of 4"),
    ],
)
def test_what_no_int8_kernel_has_is_refused_with_the_layer(layer: LayerScheme, named: str) -> None:
    with pytest.raises(ExportError, match=f"{named}.*Expected 8 bits of both"):
        written(built(CASES["linear"]), {"l": layer})
