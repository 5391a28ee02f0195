from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablequant.errors import SettingsError
from stablequant.grid.affine import (
    SMALLEST_SCALE,
    ZERO_RANGE_SCALE,
    QuantParams,
    Range,
    dequantize,
    fake_quantize,
    params_from_range,
    quantize,
)

ENDS = st.floats(-(2.0**100), 2.0**100, width=32)
BITS = st.sampled_from([2, 4, 8, 16])


def ordered(a: float, b: float) -> Range:
    return Range(min(a, b), max(a, b))


@given(ENDS, ENDS, BITS, st.booleans())
def test_grid_holds_zero_and_the_range_to_half_a_step(a: float, b: float, bits: int, symmetric: bool) -> None:
    covered = ordered(a, b)
    params = params_from_range(covered, bits=bits, symmetric=symmetric)
    assert fake_quantize(np.zeros(1, np.float32), params)[0] == 0.0
    grid, slack = params.range, params.scale * 0.51
    if symmetric:
        assert params.zero_point == 0
        slack = params.scale * 2.0**-23 * 2**bits  # the scale's rounding to float32, at the last code
    assert grid.low <= covered.low + slack
    assert grid.high >= covered.high - slack


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=50), BITS, st.booleans())
def test_error_inside_the_grid_is_at_most_half_a_step(values: list[float], bits: int, symmetric: bool) -> None:
    x = np.array(values, np.float32)
    params = params_from_range(Range(-100.0, 100.0), bits=bits, symmetric=symmetric)
    inside = (x >= params.range.low) & (x <= params.range.high)
    error = np.abs(fake_quantize(x, params).astype(np.float64) - x)[inside]
    assert (error <= params.scale * 0.5 + 100 * 2.0**-22).all()


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=50), st.booleans())
def test_a_second_plane_holds_what_the_first_leaves(values: list[float], symmetric: bool) -> None:
    x = np.array(values, np.float32)
    params = replace(params_from_range(Range(-100.0, 100.0), symmetric=symmetric), planes=2)
    assert params.remainder.range.high >= params.scale * 0.5 * (1 - 1e-6)
    error = np.abs(fake_quantize(x, params).astype(np.float64) - x)
    assert (error <= params.remainder.scale * 0.5 + params.scale * 0.005 + 100 * 2.0**-22).all()
    assert params.remainder.scale < params.scale / 250


def test_what_is_clipped_stays_clipped_in_two_planes() -> None:
    params = QuantParams(1.0, planes=2)
    assert fake_quantize(np.array([500.0], np.float32), params)[0] < 128


@given(BITS, st.floats(1e-6, 1e6), st.data())
def test_codes_survive_the_round_trip(bits: int, scale: float, data: st.DataObject) -> None:
    half = 1 << (bits - 1)
    params = QuantParams(scale, data.draw(st.integers(-half, half - 1)), bits)
    codes = np.arange(-half, half)
    assert (quantize(dequantize(codes, params), params) == codes).all()


def test_halves_round_to_even_and_ends_saturate() -> None:
    params = QuantParams(2.0, 0)
    x = np.array([1.0, 3.0, -1.0, 5.0, 1e9, -1e9], np.float32)
    assert quantize(x, params).tolist() == [0, 2, 0, 2, 127, -128]
    assert quantize(x, params).dtype == np.int8
    assert quantize(x, QuantParams(2.0, 0, 16)).dtype == np.int16


def test_agrees_with_onnx_runtime_to_the_last_bit() -> None:
    x = np.random.default_rng(0).normal(0, 3, 10_000).astype(np.float32)
    params = params_from_range(Range(-2.3, 7.1), symmetric=False)
    helper, tensor = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        "qdq",
        [helper.make_tensor_value_info("x", tensor.FLOAT, ["n"])],
        [helper.make_tensor_value_info(name, kind, ["n"]) for name, kind in (("q", tensor.INT8), ("y", tensor.FLOAT))],
        [
            helper.make_tensor("s", tensor.FLOAT, [], [params.scale]),
            helper.make_tensor("z", tensor.INT8, [], [params.zero_point]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    codes, real = session.run(None, {"x": x})
    assert (codes == quantize(x, params)).all()
    assert (real == fake_quantize(x, params)).all()


def test_one_sided_ranges_use_all_codes() -> None:
    params = params_from_range(Range(3.0, 5.1), symmetric=False)
    assert (params.scale, params.zero_point) == (float(np.float32(5.1 / 255)), -128)
    params = params_from_range(Range(-5.1, -3.0), symmetric=False)
    assert params.zero_point == 127


@pytest.mark.parametrize("symmetric", [True, False])
def test_degenerate_ranges_have_a_safe_scale(symmetric: bool) -> None:
    assert params_from_range(Range(0.0, 0.0), symmetric=symmetric).scale == ZERO_RANGE_SCALE
    assert params_from_range(Range(-1e-44, 0.0), symmetric=symmetric).scale == SMALLEST_SCALE


def test_scale_is_exact_in_float32() -> None:
    assert QuantParams(0.1).scale == float(np.float32(0.1)) != 0.1


@pytest.mark.parametrize("ends", [(1.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_impossible_ranges_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(SettingsError, match="cannot be quantised"):
        Range(*ends)


@pytest.mark.parametrize(
    ("scale", "zero_point", "bits"),
    [
        (0.0, 0, 8),
        (-1.0, 0, 8),
        (float("nan"), 0, 8),
        (1e300, 0, 8),
        (1e-40, 0, 8),
        (1.0, 128, 8),
        (1.0, 0, 1),
        (1.0, 0, 17),
    ],
)
def test_impossible_grids_are_refused(scale: float, zero_point: int, bits: int) -> None:
    with pytest.raises(SettingsError):
        QuantParams(scale, zero_point, bits)
