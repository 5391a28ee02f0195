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
from stablequant.grid.weights import Granularity, PerChannel, PerGroup, PerTensor, WeightSpec, quantize_weight
from stablequant.network.execute import Operands
from stablequant.network.graph import Node
from stablequant.quantize import simulate
from stablequant.quantize.scheme import LayerScheme, Scheme, weight_spec
from stablequant.quantize.simulate import Simulator, fake_quantize
from stablequant.settings import Settings

#: Steps so wide that an activation keeps little but its sign; three bits leave weights hardly more.
COARSE = QuantParams(40.0)
THREE = WeightSpec(3)
LAYER = LayerScheme((COARSE,), THREE)
PRODUCT = LayerScheme((COARSE, COARSE), None)
#: What reads a tensor that is rounded by itself.
LINEAR = Node("linear", "l", ("x",), ("y",))


@cache
def simulator(name: str) -> Simulator:
    return Simulator(support.MODELS[name](), matmuls=True)


def params() -> st.SearchStrategy[QuantParams]:
    def of(bits: int) -> st.SearchStrategy[QuantParams]:
        zero = st.integers(*affine.code_limits(bits))
        return st.builds(QuantParams, st.floats(1e-6, 1e3), zero, st.just(bits), st.sampled_from([1, 2]))

    return st.sampled_from([2, 4, 8]).flatmap(of)


@given(arrays.arrays(np.float32, 64, elements=st.floats(-1e4, 1e4, width=32)), params())
def test_rounding_is_the_arithmetic_room_s_bit_for_bit(x: np.ndarray, grid: QuantParams) -> None:
    assert np.array_equal(fake_quantize(torch.from_numpy(x), grid, LINEAR).numpy(), affine.fake_quantize(x, grid))


@given(st.integers(-150, 150), params())
def test_halves_go_to_the_even_code_as_in_the_arithmetic_room(code: int, grid: QuantParams) -> None:
    edges = (np.float32(code) + np.array([-0.5, 0.0, 0.5], np.float32)) * np.float32(grid.scale)
    assert np.array_equal(
        fake_quantize(torch.from_numpy(edges), grid, LINEAR).numpy(), affine.fake_quantize(edges, grid)
    )


def test_rounding_leaves_its_input_alone() -> None:
    x = torch.tensor([0.3, 1.7])
    fake_quantize(x, QuantParams(1.0), LINEAR)
    assert x.tolist() == pytest.approx([0.3, 1.7])


@pytest.mark.parametrize("name", support.MODELS)
def test_an_unknown_layer_is_an_error(name: str) -> None:
    with pytest.raises(PlanError, match=r"no\.such\.layer"):
        simulator(name).operands({"no.such.layer": LAYER})


def test_attention_s_products_are_unknown_where_they_are_fused() -> None:
    product = next(op.name for op in support.graft().ops(matmuls=True) if op.node.kind == "matmul")
    with pytest.raises(PlanError, match=product):
        Simulator(support.graft()).operands({product: PRODUCT})


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
        changed, watched = logits(name, {layer: PRODUCT if op.node.kind == "matmul" else LAYER})
        assert watched is not None
        assert watched.activations == {layer}, layer
        weights = {layer} if op.node.weights else set()
        if layer == "proj_out":
            weights.add("model.decoder.embed_tokens")
        assert watched.weights == weights, layer
        difference = float((changed - float_logits(name)).abs().max())
        assert difference > 1e-3 * float(np.ptp(float_logits(name).numpy())), (layer, difference)


def rounded_as(spec: WeightSpec) -> tuple[Tensor, Tensor]:
    """A weight, and what the simulator computes with instead under ``spec``."""
    model = support.graft()
    op = next(op for op in model.ops() if op.name.endswith("layers.1.attention.out_proj"))
    weight = model.weight(op)
    assert weight is not None
    operands = simulator("graft").operands({op.name: LayerScheme((COARSE,), spec)})
    assert operands is not None
    _, rounded = operands(op.node, (torch.zeros(1, 1, weight.shape[1]),), {"weight": weight}, None)
    return weight, rounded["weight"]


@pytest.mark.parametrize(("granularity", "per"), [("channel", PerChannel()), ("tensor", PerTensor())])
@pytest.mark.parametrize("range", ["max", "mse"])
def test_weights_are_rounded_as_the_settings_say(granularity: str, per: Granularity, range: str) -> None:
    settings = Settings.parse({"weights.bits": 4, "granularity": granularity, "range": range})
    spec = weight_spec(settings.weights)
    assert spec == WeightSpec(4, per, range)
    weight, rounded = rounded_as(spec)
    assert torch.equal(rounded, quantize_weight(weight, spec).dequantized())


def test_weights_in_groups_are_rounded_as_their_spec_says() -> None:
    weight, rounded = rounded_as(WeightSpec(4, PerGroup(16)))
    assert torch.equal(rounded, quantize_weight(weight, WeightSpec(4, PerGroup(16))).dequantized())
    assert (rounded - weight).norm() < (rounded_as(WeightSpec(4))[1] - weight).norm()


def test_specs_of_one_layer_do_not_get_in_each_other_s_way() -> None:
    first = rounded_as(WeightSpec(4))[1]
    assert not torch.equal(rounded_as(WeightSpec(5))[1], first)
    assert rounded_as(WeightSpec(4))[1] is first


def test_the_embedding_that_shares_the_head_s_weight_is_rounded_with_the_head() -> None:
    model = support.moonshine()
    decoder = model.graph("decoder")
    embed = next(n for n in decoder.nodes if n.kind == "embedding")
    weight = decoder.weights[embed.weights["weight"]]
    operands = simulator("moonshine").operands({"proj_out": LAYER})
    assert operands is not None
    ids = torch.tensor([[1, 5]])
    (same,), rounded = operands(embed, (ids,), {"weight": weight}, None)
    assert same is ids
    assert torch.equal(rounded["weight"], quantize_weight(weight, THREE).dequantized())


@pytest.mark.parametrize("name", support.MODELS)
def test_a_scheme_leaves_the_model_s_weights_as_they_were(name: str) -> None:
    model = support.MODELS[name]()
    before = [support.checksum(g.weights) for g in model.graphs]
    logits(name, support.scheme(name, matmuls=True))
    assert [support.checksum(g.weights) for g in model.graphs] == before


def test_a_large_model_s_weights_are_dequantised_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, _ = logits("graft", support.scheme("graft"))
    monkeypatch.setattr(simulate, "SMALL", support.graft().float_bytes - 1)
    model = Simulator(support.graft(), matmuls=True)
    operands = model.operands(support.scheme("graft"))
    values = model.executors["model"].run(fed("graft")[0], operands)
    assert not model._rounded
    assert torch.equal(values["logits"], kept)
