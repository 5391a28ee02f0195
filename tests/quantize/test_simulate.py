"""The simulation does what the plan says, for every operation, and nothing besides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np
import pytest
import support
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from stablequant.errors import PlanError
from stablequant.grid import affine
from stablequant.grid.affine import QuantParams
from stablequant.grid.weights import fake_quantize_weight, weight_scales
from stablequant.network.execute import Operands
from stablequant.network.graph import Node
from stablequant.quantize.plan import Scheme
from stablequant.quantize.simulate import Simulator, fake_quantize

#: Steps so wide that an activation keeps little but its sign; three bits leave weights hardly more.
COARSE = QuantParams(40.0)
BITS = 3


@cache
def simulator(name: str) -> Simulator:
    return Simulator(support.MODELS[name](), bits=BITS, matmuls=True)


def params() -> st.SearchStrategy[QuantParams]:
    def of(bits: int) -> st.SearchStrategy[QuantParams]:
        zero = st.integers(*affine.code_limits(bits))
        return st.builds(QuantParams, st.floats(1e-6, 1e3), zero, st.just(bits), st.sampled_from([1, 2]))

    return st.sampled_from([2, 4, 8]).flatmap(of)


@given(arrays.arrays(np.float32, 64, elements=st.floats(-1e4, 1e4, width=32)), params())
def test_rounding_is_the_arithmetic_room_s_bit_for_bit(x: np.ndarray, grid: QuantParams) -> None:
    assert np.array_equal(fake_quantize(torch.from_numpy(x), grid).numpy(), affine.fake_quantize(x, grid))


@given(st.integers(-150, 150), params())
def test_halves_go_to_the_even_code_as_in_the_arithmetic_room(code: int, grid: QuantParams) -> None:
    edges = (np.float32(code) + np.array([-0.5, 0.0, 0.5], np.float32)) * np.float32(grid.scale)
    assert np.array_equal(fake_quantize(torch.from_numpy(edges), grid).numpy(), affine.fake_quantize(edges, grid))


def test_rounding_leaves_its_input_alone() -> None:
    x = torch.tensor([0.3, 1.7])
    fake_quantize(x, QuantParams(1.0))
    assert x.tolist() == pytest.approx([0.3, 1.7])


@pytest.mark.parametrize("name", support.MODELS)
def test_an_unknown_layer_is_an_error(name: str) -> None:
    with pytest.raises(PlanError, match=r"no\.such\.layer"):
        simulator(name).operands({"no.such.layer": (COARSE,)})


def test_attention_s_products_are_unknown_where_they_are_fused() -> None:
    product = next(op.name for op in support.graft().ops(matmuls=True) if op.node.kind == "matmul")
    with pytest.raises(PlanError, match=product):
        Simulator(support.graft()).operands({product: (COARSE, COARSE)})


class Watched:
    """Passes on what the simulator says and notes which operations got other activations or weights by it."""

    def __init__(self, operands: Operands) -> None:
        self._operands = operands
        self.activations: set[str] = set()
        self.weights: set[str] = set()

    def __call__(
        self, node: Node, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor], lengths: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
        new_inputs, new_weights = self._operands(node, inputs, weights, lengths)
        if any(differ(new_inputs[i], inputs[i]) for i in range(len(node.activations))):
            self.activations.add(node.name)
        if any(differ(new_weights[role], weights[role]) for role in weights):
            self.weights.add(node.name)
        return new_inputs, new_weights


def differ(a: Tensor, b: Tensor) -> bool:
    return a is not b and not torch.equal(a, b)


@cache
def fed(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs of the first graph, and of the second what the first does not give."""
    model = support.MODELS[name]()
    first = support.feeds(model, [support.waveform("vm-nomore")[4000:14000]])
    rest = {"input_ids": torch.tensor([[1, 1939, 901]])} | support.empty_past(model, 1) if name == "moonshine" else {}
    return first, rest


@cache
def float_encoded() -> dict[str, Tensor]:
    return simulator("moonshine").executors["encoder"].run(fed("moonshine")[0])


def logits(name: str, scheme: Scheme) -> tuple[Tensor, Watched | None]:
    executors = simulator(name).executors
    operands = simulator(name).operands(scheme)
    watched = None if operands is None else Watched(operands)
    first, rest = fed(name)
    if name == "graft":
        return executors["model"].run(first, watched)["logits"], watched
    # A layer of the decoder leaves the encoder's output as it is in float.
    inside = {op.name for op in support.moonshine().ops(matmuls=True) if op.graph == "encoder"}
    encoded = executors["encoder"].run(first, watched) if inside & set(scheme) else float_encoded()
    return executors["decoder"].run(encoded | rest, watched)["logits"], watched


@cache
def float_logits(name: str) -> Tensor:
    return logits(name, {})[0]


def every_operation() -> Iterator[tuple[str, str]]:
    for name, model in support.MODELS.items():
        for op in model().ops(matmuls=True):
            yield name, op.name


def test_each_operation_alone_changes_what_the_model_says_and_no_other_operation() -> None:
    for name, layer in every_operation():
        op = next(op for op in support.MODELS[name]().ops(matmuls=True) if op.name == layer)
        grids = tuple(COARSE for _ in op.node.activations)
        changed, watched = logits(name, {layer: grids})
        assert watched is not None
        assert watched.activations == {layer}, layer
        weights = {layer} if op.node.weights else set()
        if layer == "proj_out":
            weights.add("model.decoder.embed_tokens")
        assert watched.weights == weights, layer
        difference = float((changed - float_logits(name)).abs().max())
        assert difference > 1e-3 * float(np.ptp(float_logits(name).numpy())), (layer, difference)


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("method", ["max", "mse"])
def test_weights_are_rounded_as_the_settings_say(granularity: str, method: str) -> None:
    model = support.graft()
    sim = Simulator(model, bits=4, granularity=granularity, method=method)
    op = next(op for op in model.ops() if op.name.endswith("layers.1.attention.out_proj"))
    weight = model.weight(op)
    assert weight is not None
    operands = sim.operands({op.name: (COARSE,)})
    assert operands is not None
    _, rounded = operands(op.node, (torch.zeros(1, 1, weight.shape[1]),), {"weight": weight}, None)
    scales = weight_scales(weight, bits=4, granularity=granularity, method=method)
    assert torch.equal(rounded["weight"], fake_quantize_weight(weight, scales, bits=4))


def test_the_tied_embedding_is_rounded_with_the_head() -> None:
    model = support.moonshine()
    decoder = model.graph("decoder")
    embed = next(n for n in decoder.nodes if n.kind == "embedding")
    weight = decoder.weights[embed.weights["weight"]]
    operands = simulator("moonshine").operands({"proj_out": (COARSE,)})
    assert operands is not None
    ids = torch.tensor([[1, 5]])
    (same,), rounded = operands(embed, (ids,), {"weight": weight}, None)
    assert same is ids
    assert torch.equal(rounded["weight"], fake_quantize_weight(weight, weight_scales(weight, bits=BITS), bits=BITS))


@pytest.mark.parametrize("name", support.MODELS)
def test_a_scheme_leaves_the_model_s_weights_as_they_were(name: str) -> None:
    model = support.MODELS[name]()
    before = [support.checksum(g.weights) for g in model.graphs]
    logits(name, support.scheme(name, matmuls=True))
    assert [support.checksum(g.weights) for g in model.graphs] == before
