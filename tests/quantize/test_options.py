"""The schemes that a layer can have, on both real models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import support

from stablequant.grid.affine import QuantParams, fake_quantize
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import PerFrame
from stablequant.grid.unrounded import Unrounded
from stablequant.grid.weights import PerGroup, WeightSpec
from stablequant.network.graph import LOWER_BOUNDS
from stablequant.quantize.options import (
    PER_BLOCK,
    PER_FRAME,
    PER_FRAME_SHIFTED,
    RESIDUAL,
    STATIC,
    STATIC_SHIFTED,
    WEIGHTS_ALONE,
    by_block,
    options,
    reads_waveform,
)
from stablequant.quantize.scheme import LayerScheme
from stablequant.recipes import recipe
from stablequant.settings import Settings

FOUR = [STATIC, STATIC_SHIFTED, PER_FRAME, PER_FRAME_SHIFTED]
#: Endings of the names of layers that are not plain linear layers.
NAMES = {
    "graft": {
        "conv_layers.0.conv": [RESIDUAL],
        "pos_conv_embed.conv": [STATIC],
        "scores": [STATIC],
        "context": [STATIC],
        "conv_layers.1.conv": FOUR,
        "conv_layers.2.conv": FOUR,
        "output_dense": FOUR,
    },
    "moonshine": {
        "encoder.conv1": [RESIDUAL],
        "encoder.conv3": FOUR,
        "scores": [STATIC],
        "context": [STATIC],
        **{f"encoder.layers.{i}.mlp.fc2": FOUR for i in range(6)},
    },
}


@pytest.mark.parametrize("name", support.MODELS)
def test_each_layer_may_have_what_its_operation_allows(name: str) -> None:
    model, met = support.MODELS[name](), set()
    for op in model.ops(matmuls=True):
        ending = next((e for e in NAMES[name] if op.name.endswith(e)), "")
        met.add(ending)
        expected = NAMES[name].get(ending, [STATIC, PER_FRAME])
        assert list(options(model, op, support.histograms(name), Settings())) == expected, op.name
    assert met >= NAMES[name].keys()


@pytest.mark.parametrize("name", support.MODELS)
def test_speech_twice_as_loud_as_all_of_calibration_is_not_clipped_at_the_waveform(name: str) -> None:
    model, histograms = support.MODELS[name](), support.histograms(name)
    op = next(op for op in model.ops() if reads_waveform(model, op))
    (grid,) = options(model, op, histograms, Settings())[RESIDUAL].activations
    assert isinstance(grid, QuantParams)
    (seen,) = histograms[op.name]
    loud = 1.9 * max(seen.maximum, -seen.minimum) * np.linspace(-1, 1, 10001)
    error = np.abs(fake_quantize(loud, grid) - loud).max()
    assert error <= loud.max() / 2**13  # of 16 bits one is headroom, and the calibrator may leave out as much


def test_a_shifted_static_grid_begins_at_the_bound_of_the_function_and_keeps_zero() -> None:
    model = support.graft()
    op = next(op for op in model.ops() if op.name.endswith("layers.0.feed_forward.output_dense"))
    found = options(model, op, support.histograms("graft"), Settings())
    (grid,), (plain,) = found[STATIC_SHIFTED].activations, found[STATIC].activations
    assert isinstance(grid, QuantParams)
    assert isinstance(plain, QuantParams)
    low = LOWER_BOUNDS["gelu"]
    assert grid.range.low == pytest.approx(low, abs=grid.scale)
    assert grid.range.low <= 0.0 < grid.range.high
    # The grid of the calibrator reaches as far to both sides: its step is nearly twice as wide.
    assert grid.scale < 0.7 * plain.scale
    (framed,) = found[PER_FRAME_SHIFTED].activations
    assert framed == PerFrame(8, -low)


def test_a_decoder_s_linear_layers_may_have_a_scale_a_block_where_the_setting_says_so() -> None:
    model, histograms = support.moonshine(), support.histograms("moonshine")
    settings = Settings.parse({"decoder": "block"})
    for op in model.ops(matmuls=True):
        found, usual = (options(model, op, histograms, s) for s in (settings, Settings()))
        may = op.graph == "decoder" and op.node.kind == "linear"
        assert list(found) == [*usual, *([PER_BLOCK] if may else [])], op.name
        if may:
            assert found[PER_BLOCK] == by_block(model, op, settings)


def test_weights_in_groups_stand_opposite_blocks_of_the_input_and_convolutions_keep_widths_of_their_own() -> None:
    model, histograms = support.moonshine(), support.histograms("moonshine")
    settings = Settings.parse({"bits": "w4a8", "step_group": 16})
    for op in model.ops():
        (*_, found) = options(model, op, histograms, settings).values()
        if op.node.kind != "linear":
            assert found.weight == WeightSpec(8), op.name
            assert {a.bits for a in found.activations} == {8}
        else:
            size = 16 if op.graph == "decoder" else 32
            assert found == LayerScheme((PerBlock(8, size),), WeightSpec(4, PerGroup(size), "mse")), op.name


@pytest.mark.parametrize(
    "given",
    [
        {"weights": "4g32"},
        {"weights.bits": 4, "weights.group": 32},
        {"weights.step_bits": 4, "weights.step_group": 32},
        {"target_bytes": 0.2},
    ],
)
def test_wherever_a_width_below_8_bits_comes_from_its_scales_have_the_least_squared_error(
    given: dict[str, Any],
) -> None:
    model, histograms = support.moonshine(), support.histograms("moonshine")
    for asked in (None, "max", "mse"):
        settings, met = Settings.parse({**recipe("default").settings, **given, "weights.range": asked}), set()
        for op in model.ops():
            for found in options(model, op, histograms, settings).values():
                assert found.weight is not None
                assert found.weight.range == (asked or ("mse" if found.weight.bits < 8 else "max")), op.name
                met.add(found.weight.bits)
        assert met == {4, 8}


def test_activations_of_16_bits_leave_the_inputs_of_linear_layers_in_float() -> None:
    model, histograms = support.graft(), support.histograms("graft")
    settings = Settings.parse({"bits": "w4a16"})
    for op in model.ops():
        found = options(model, op, histograms, settings)
        assert (list(found) == [WEIGHTS_ALONE]) == (op.node.kind == "linear"), op.name
        if op.node.kind == "linear":
            assert found[WEIGHTS_ALONE] == LayerScheme((Unrounded(),), WeightSpec(4, PerGroup(32), "mse"))
