"""A scale a frame in whole models: which layers have one, and that padding and neighbours do not reach it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import support
import torch
from torch import Tensor

from stablequant.errors import PlanError
from stablequant.families.model import SpeechModel
from stablequant.grid.affine import QuantParams
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import PerFrame
from stablequant.grid.weights import PerGroup, WeightSpec
from stablequant.network.execute import Executor
from stablequant.network.graph import LOWER_BOUNDS, Graph
from stablequant.quantize import calibrated, simulate
from stablequant.quantize.by_frame import base, by_frame
from stablequant.quantize.options import by_block
from stablequant.quantize.scheme import LayerScheme, Scheme
from stablequant.quantize.simulate import Simulator, fake_quantize
from stablequant.settings import Settings

FRAME = Settings.parse({"scales": "frame"})
GELU = PerFrame(shift=-LOWER_BOUNDS["gelu"])

#: Endings of the names of layers with a form of their own; all others have a symmetric scale a frame.
FORMS: dict[str, dict[str, Any]] = {
    "graft": {
        "conv_layers.0.conv": "two codes",
        "pos_conv_embed.conv": "static",
        "scores": "static",
        "context": "static",
        **{f"conv_layers.{i}.conv": GELU for i in range(1, 3)},
        "output_dense": GELU,
    },
    "moonshine": {
        "encoder.conv1": "two codes",
        "conv3": GELU,
        "scores": "static",
        "context": "static",
        **{f"encoder.layers.{i}.mlp.fc2": GELU for i in range(6)},
    },
}


@pytest.mark.parametrize("name", support.MODELS)
def test_every_layer_has_the_form_that_it_can_have(name: str) -> None:
    model, histograms = support.MODELS[name](), support.histograms(name)
    scheme = by_frame(model, histograms, FRAME)
    assert list(scheme) == [op.name for op in model.ops(matmuls=True)]
    met = set()
    for layer, found in scheme.items():
        ending = next((e for e in FORMS[name] if layer.endswith(e)), "")
        met.add(ending)
        form = FORMS[name].get(ending, PerFrame())
        if form == "two codes":
            assert [type(a) for a in found.activations] == [QuantParams]
            assert found.activations[0].planes == 2
        elif form == "static":
            assert found == calibrated.layer(histograms, layer, FRAME.activations.calibrator, FRAME), layer
        else:
            assert found == LayerScheme((form,), WeightSpec()), layer
    assert met == {*FORMS[name], ""}


@pytest.mark.parametrize("name", support.MODELS)
def test_the_setting_decides_on_linear_layers_of_what_runs_step_by_step_alone(name: str) -> None:
    model, histograms = support.MODELS[name](), support.histograms(name)
    same, found = (
        by_frame(model, histograms, Settings.parse({"scales": "frame", "decoder": choice, "weights.range": "mse"}))
        for choice in ("same", "block")
    )
    changed = {layer: scheme for layer, scheme in found.items() if scheme != same[layer]}
    decoder = [op for op in model.ops() if op.graph == "decoder"]
    assert list(changed) == [op.name for op in decoder]
    for op in decoder:
        # 288 channels are 9 times 32; the feed-forward's 1152 are 9 times 128.
        size = 128 if op.name.endswith("fc2") else 32
        assert changed[op.name] == LayerScheme((PerBlock(8, size),), WeightSpec(per=PerGroup(size), range="mse"))


def test_blocks_are_the_largest_that_leave_none_short() -> None:
    for channels, size in ((1024, 128), (384, 128), (192, 64), (96, 32), (80, 32)):
        weights = {"l.weight": torch.ones(2, channels)}
        graph = Graph("g", weights)
        graph.linear(graph.input("x", "float32", (2, "t", channels)), "l", bias=False)
        model = SpeechModel("none", None, None, (graph,), "", "", 0)  # type: ignore[arg-type]
        (op,) = model.ops()
        assert by_block(model, op, FRAME).activations == (PerBlock(8, size),)


def test_the_setting_decides_between_a_scale_a_frame_and_calibrated_ones() -> None:
    model, histograms = support.graft(), support.histograms("graft")
    assert base(model, histograms, FRAME) == by_frame(model, histograms, FRAME)
    assert base(model, histograms, Settings()) == calibrated.uniform(histograms, "mse", Settings())


def behind(*kinds: str, function: str = "gelu") -> float | None:
    """The lower bound that a linear layer behind nodes of these kinds sees."""
    graph = Graph("g", {"l.weight": torch.ones(2, 4), "n.weight": torch.ones(4), "n.bias": torch.ones(4)})
    x = graph.input("x", "float32", (2, "t", 4))
    for kind in kinds:
        if kind == "layer_norm":
            x = graph.layer_norm(x, "n")
        elif kind in ("add", "mul"):
            x = graph.add(kind, x, "x")
        elif kind == "chunk":
            x = graph.add_many(kind, x, count=2)[0]
        else:
            x = graph.add(kind, x, **({"function": function} if kind == "activation" else {}))
    graph.linear(x, "l", bias=False)
    return graph.lower_bound(graph.nodes[-1])


@pytest.mark.parametrize("function", LOWER_BOUNDS)
def test_a_shift_is_known_right_behind_an_activation_function(function: str) -> None:
    assert behind("layer_norm", "activation", function=function) == LOWER_BOUNDS[function]


@pytest.mark.parametrize("between", ["layer_norm", "add", "mul", "chunk", "merge_heads"])
def test_no_shift_is_taken_over_from_further_back(between: str) -> None:
    assert behind("activation", between) is None
    assert behind(between) is None


def test_a_function_without_a_close_lower_bound_and_an_input_have_none() -> None:
    assert behind("activation", function="tanh") is None
    assert behind() is None


# -- what reaches a scale ---------------------------------------------------------------------------------------------


def small(write: Any, **weights: tuple[int, ...]) -> SpeechModel:
    """A model of one graph from "x" ``[2, t, 4]`` to "y"."""
    generator = torch.Generator().manual_seed(5)
    drawn = {k.replace("_", "."): torch.randn(shape, generator=generator) for k, shape in weights.items()}
    graph = Graph("g", drawn)
    graph.output(write(graph, graph.input("x", "float32", (2, "t", 4))), "y", (2, "t", 4))
    return SpeechModel("none", None, None, (graph,), "", "", 0)  # type: ignore[arg-type]


def run(model: SpeechModel, scheme: Scheme, x: Tensor) -> Tensor:
    simulator = Simulator(model)
    return simulator.executors["g"].run({"x": x}, simulator.operands(scheme))["y"]


LAYER = LayerScheme((PerFrame(),), WeightSpec())
BEHIND = LayerScheme((GELU,), WeightSpec())


def test_the_windows_of_a_convolution_are_rounded_by_their_own_largest_value() -> None:
    """By hand, in 3 bits (codes -3..3), a kernel of 2 with stride 1: frames 1, 9 and 3, two channels each."""
    model = small(lambda g, x: g.conv1d(x, "c", bias=False), c_weight=(1, 2, 2))
    node = model.ops()[0].node
    x = torch.tensor([[[1.0, 0.0], [2.0, 9.0], [-3.0, 0.4]]])
    found = fake_quantize(x, PerFrame(3), node)
    # The largest value of both windows is 9, so a step is 3: 1 -> 0, 2 -> 3, -3 -> -3, 0.4 -> 0.
    assert found.shape == (1, 2, 2, 2)
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.0, 0.0], [3.0, 9.0]]))
    torch.testing.assert_close(found[0, 1], torch.tensor([[3.0, 9.0], [-3.0, 0.0]]))
    # Now only the first window holds 9: in the second a step is 1, and the frame that both see is rounded in each anew.
    x = torch.tensor([[[1.0, 9.0], [2.0, 0.4], [-3.0, 0.6]]])
    found = fake_quantize(x, PerFrame(3), node)
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.0, 9.0], [3.0, 0.0]]))
    torch.testing.assert_close(found[0, 1], torch.tensor([[2.0, 0.0], [-3.0, 1.0]]))


def test_a_convolution_of_windows_is_the_convolution_where_nothing_is_rounded() -> None:
    """16 bits leave next to nothing of the rounding; stride and a left-over step at the end included."""
    model = small(lambda g, x: g.conv1d(x, "c", stride=2), c_weight=(4, 4, 3), c_bias=(4,))
    x = torch.randn(2, 10, 4, generator=torch.Generator().manual_seed(6))
    expected = Executor(model.graphs[0]).run({"x": x})["y"]
    found = run(model, {"c": LayerScheme((PerFrame(16),), WeightSpec(16))}, x)
    assert found.shape == expected.shape == (2, 4, 4)
    assert support.relative_difference(found, expected) < 1e-3


def layers(g: Graph, x: str) -> str:
    """A convolution, GELU, another one and a linear layer."""
    x = g.add("activation", g.conv1d(x, "a"), function="gelu")
    return g.linear(g.add("activation", g.conv1d(x, "b", stride=2), function="gelu"), "l")


def test_padding_never_reaches_a_scale() -> None:
    """A batch gives what its parts give to the last bit, whatever stands in the padding."""
    shapes = {"a_weight": (4, 4, 3), "a_bias": (4,), "b_weight": (4, 4, 2), "b_bias": (4,)}
    model = small(layers, **shapes, l_weight=(4, 4), l_bias=(4,))
    scheme = {"a": LAYER, "b": BEHIND, "l": BEHIND}
    x = torch.randn(2, 20, 4, generator=torch.Generator().manual_seed(7))
    alone = run(model, scheme, x[1:, :13])
    for padding in (0.0, 1e6, float("nan")):
        x[1, 13:] = padding
        found = run(model, scheme, x)[1:, : alone.shape[1]]
        torch.testing.assert_close(found, alone, rtol=1e-5, atol=1e-6)
        # Another order of a sum is all that may differ: against a scale moved by the padding that is nothing.
        assert torch.isfinite(found).all()


@pytest.mark.parametrize("name", support.MODELS)
def test_a_padded_batch_of_real_speech_says_what_its_parts_say(name: str) -> None:
    model = support.MODELS[name]()
    frames = by_frame(model, support.histograms(name), FRAME)
    scheme = {op.name: frames[op.name] for op in model.ops()}
    backend, sounds = Simulator(model).backend(scheme), support.waveforms(support.SHORT[1:3])
    together = model.frontend.recognize(backend, sounds)
    assert [t.text for t in together] == [model.frontend.recognize(backend, [s])[0].text for s in sounds]
    assert all(t.text for t in together)


class Counted:
    """Counts what is rounded, and rounds it."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *arguments: Any) -> Tensor:
        self.calls += 1
        return fake_quantize(*arguments)


def test_layers_that_read_one_value_share_its_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(g: Graph, x: str) -> str:
        q, k, v = (g.linear(x, name, bias=False) for name in "qkv")
        return g.add("add", g.add("add", q, k), v)

    model = small(write, q_weight=(4, 4), k_weight=(4, 4), v_weight=(4, 4))
    x = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(8))
    alone = [run(model, {name: LAYER}, x) for name in "qkv"]
    plain = run(model, {}, x)
    counted = Counted()
    monkeypatch.setattr(simulate, "fake_quantize", counted)
    together = run(model, dict.fromkeys("qkv", LAYER), x)
    assert counted.calls == 1
    torch.testing.assert_close(together - plain, sum(a - plain for a in alone))
    counted.calls = 0
    run(model, {"q": LAYER, "k": LayerScheme((PerFrame(4),), WeightSpec()), "v": LAYER}, x)
    assert counted.calls > 1


def test_layers_with_other_windows_do_not_share_a_rounding_of_one_value() -> None:
    def write(g: Graph, x: str) -> str:
        wide, linear = g.conv1d(x, "w", bias=False), g.linear(x, "l", bias=False)
        narrow, other = g.conv1d(x, "n", bias=False, stride=2), g.conv1d(x, "o", bias=False, stride=2)
        return g.add("add", g.add("add", wide, narrow), g.add("add", linear, other))

    # Eight steps: windows of 8, 1 x 8, 8 linear rows: all outputs are one step or as many as there are.
    model = small(write, w_weight=(4, 4, 8), l_weight=(4, 4), n_weight=(4, 4, 7), o_weight=(4, 4, 8))
    x = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(9))
    plain = run(model, {}, x)
    effects = [run(model, {name: LAYER}, x) - plain for name in "wlno"]
    together = run(model, dict.fromkeys("wlno", LAYER), x)
    torch.testing.assert_close(together - plain, sum(effects), rtol=1e-4, atol=1e-4)


# -- what cannot have one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["wavlm.encoder.pos_conv_embed.conv", "wavlm.encoder.layers.1.attention.scores"])
def test_a_scale_a_frame_or_a_block_is_refused_where_an_operation_does_not_multiply_rows(layer: str) -> None:
    found = calibrated.layer(support.histograms("graft"), layer, "mse", Settings())
    for form, message in (
        (PerFrame(), "a scale a frame for .*static grid"),
        (PerBlock(), "a scale a block for .*linear layers"),
    ):
        refused = replace(found, activations=(form,) * len(found.activations))
        with pytest.raises(PlanError, match=message.replace("for ", f"for {layer} ")):
            Simulator(support.graft(), matmuls=True).operands({layer: refused})
