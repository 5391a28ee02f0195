"""A plan run in int8 by PyTorch says what the simulation of it says. On the CPU, which computes the same numbers as a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import support
import torch

from stablequant.errors import SettingsError
from stablequant.export import parity
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import PerFrame
from stablequant.grid.weights import PerGroup, WeightSpec
from stablequant.quantize.by_frame import by_frame
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.runtime import torch_int8
from stablequant.runtime.torch_int8 import TorchInt8Backend
from stablequant.settings import Settings


def scheme_of(name: str, kind: str) -> Scheme:
    """All layers, on symmetric grids, on others, or the first three in two planes and the last in float."""
    if kind == "zero point":
        return support.scheme(name, symmetric=False)
    if kind in ("frame", "block"):
        settings = Settings.parse({"decoder": "block" if kind == "block" else "same"})
        found = by_frame(support.MODELS[name](), support.histograms(name), settings)
        return {op.name: found[op.name] for op in support.MODELS[name]().ops()}
    whole = support.scheme(name)
    if kind == "symmetric":
        return whole
    names = list(whole)
    for layer in names[:3]:
        (grid,) = whole[layer].activations
        whole[layer] = replace(whole[layer], activations=(replace(grid, planes=2),))
    return {layer: whole[layer] for layer in names[:-1]}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("graft", "symmetric"),
        ("graft", "zero point"),
        ("graft", "frame"),
        ("moonshine", "two planes"),
        ("moonshine", "frame"),
        ("moonshine", "block"),
    ],
)
def test_whole_models_pass_the_gate_of_an_export(name: str, kind: str) -> None:
    model, scheme = support.MODELS[name](), scheme_of(name, kind)
    simulated, int8 = Simulator(model).backend(scheme), TorchInt8Backend(model, scheme, device="cpu")
    (found,) = parity.compare(model.frontend, simulated, int8, None, support.waveforms()[:2])
    assert found.passed, found
    assert found.limit < 0.3


@pytest.mark.parametrize(("kind", "fewest"), [("symmetric", 1), ("zero point", 32), ("two planes", 400)])
def test_layers_alone_are_the_simulation_s_to_rounding(kind: str, fewest: int) -> None:
    for name, build in support.MODELS.items():
        model, scheme = build(), scheme_of(name, kind)
        simulator = Simulator(model)
        kernels = torch_int8._int8_kernels(scheme, fewest)
        graphs = {g.name: torch_int8._in_int8(g, support.integer_weights(name), scheme) for g in model.graphs}
        random = torch.Generator().manual_seed(1)
        for op in [op for op in model.ops() if op.name in scheme][::5]:
            channels = model.weight(op).shape[1] * op.node.attrs.get("groups", 1)
            (grid,) = scheme[op.name].activations
            x = torch.randn(1, 130, channels, generator=random) * grid.scale * 60
            weights = {role: model.graph(op.graph).weights[key] for role, key in op.node.weights.items()}
            inputs, rounded = simulator.operands(scheme)(op.node, (x,), weights, None)
            (expected,) = torch_int8.KERNELS[op.node.kind](op.node, inputs, rounded)
            graph = graphs[op.graph]
            node = next(n for n in graph.nodes if n.name == op.name)
            codes = {role: graph.weights[key] for role, key in node.weights.items()}
            assert codes["weight"].dtype == torch.int8
            (found,) = kernels[op.node.kind](node, (x,), codes)
            assert found.shape == expected.shape
            assert support.relative_difference(found, expected) < 1e-5, op.name


@pytest.mark.parametrize("spec", [WeightSpec(4), WeightSpec(per=PerGroup(16))])
def test_attention_s_products_and_other_weights_are_refused(spec: WeightSpec) -> None:
    model, scheme = support.graft(), support.scheme("graft")
    with pytest.raises(SettingsError, match="attention's products"):
        TorchInt8Backend(model, support.scheme("graft", matmuls=True), device="cpu")
    name = list(scheme)[3]
    other = {**scheme, name: replace(scheme[name], weight=spec)}
    with pytest.raises(SettingsError, match=rf"other than 8-bit operands with a scale .* in {name}"):
        TorchInt8Backend(model, other, device="cpu")


@pytest.mark.parametrize(("name", "form"), [("moonshine", PerFrame), ("graft", PerFrame), ("moonshine", PerBlock)])
def test_layers_with_a_scale_a_frame_or_a_block_alone_are_the_simulation(name: str, form: type) -> None:
    """Each layer on real inputs: its product in int8 differs from the simulation's by the order of a sum alone."""
    model, scheme = support.MODELS[name](), scheme_of(name, "frame" if form is PerFrame else "block")
    layers = [layer for layer, found in scheme.items() if isinstance(found.activations[0], form)][::6]
    assert layers
    sounds = support.waveforms()[:1]
    answers = model.frontend.recognize(Simulator(model).backend({}), sounds)
    for layer in layers:
        one = {layer: scheme[layer]}
        found, expected = (
            parity.logits(model.frontend, backend, sounds, answers)
            for backend in (TorchInt8Backend(model, one, device="cpu"), Simulator(model).backend(one))
        )
        assert parity.difference(found, expected) < 1e-4, layer
