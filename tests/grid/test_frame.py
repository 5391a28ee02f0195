"""A scale a frame: the simulator rounds by the formulas of grid/frame.py, each frame for itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stablequant.errors import SettingsError
from stablequant.grid.affine import QuantParams
from stablequant.grid.frame import SMALLEST_MAXIMUM, PerFrame
from stablequant.network.activations import ACTIVATIONS
from stablequant.network.graph import LOWER_BOUNDS, Node
from stablequant.quantize.simulate import fake_quantize

LINEAR = Node("linear", "l", ("x",), ("y",))
#: A power of two, so that what is drawn above it is not moved in float32 by the sum with it.
SHIFT = 0.25
SPECS = st.builds(PerFrame, st.sampled_from([2, 4, 8]), st.sampled_from([None, SHIFT]))
EACH = pytest.mark.parametrize("spec", [PerFrame(), PerFrame(shift=SHIFT), PerFrame(4), PerFrame(4, SHIFT)], ids=str)


def rounded(x: np.ndarray, spec: PerFrame) -> np.ndarray:
    return fake_quantize(torch.from_numpy(x), spec, LINEAR).numpy()


def steps_of(x: np.ndarray, spec: PerFrame) -> np.ndarray:
    """Width of a step of each row ``[rows, 1]``, by the formulas in float64."""
    x = x.astype(np.float64)
    if spec.shift is None:
        return np.maximum(np.abs(x).max(1, keepdims=True), SMALLEST_MAXIMUM) / (2 ** (spec.bits - 1) - 1)
    return np.maximum((x + spec.shift).max(1, keepdims=True), SMALLEST_MAXIMUM) / (2**spec.bits - 1)


def reference(x: np.ndarray, spec: PerFrame) -> tuple[np.ndarray, np.ndarray]:
    """What the formulas give in float64, and how far each value is from the edge between two codes, in steps."""
    shift = spec.shift or 0.0
    codes = (x.astype(np.float64) + shift) / steps_of(x, spec)
    return np.rint(codes) * steps_of(x, spec) - shift, 0.5 - np.abs(codes - np.rint(codes))


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, PerFrame]:
    """Rows of any size, none below minus the shift, and how to round them."""
    spec = draw(SPECS)
    low = -1e4 if spec.shift is None else -spec.shift
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 12)))
    return draw(arrays.arrays(np.float32, shape, elements=st.floats(low, 1e4, width=32))), spec


def slack(x: np.ndarray, spec: PerFrame) -> np.ndarray:
    """What float32 may add: a few units in the last place of the row's largest value."""
    return steps_of(x, spec) * 2.0**spec.bits * 2.0**-22


@given(cases())
def test_rounding_follows_the_formulas_in_float64(case: tuple[np.ndarray, PerFrame]) -> None:
    x, spec = case
    expected, room = reference(x, spec)
    # On the edge between two codes either is right: float32 may fall on the other side.
    clear = room > 1e-4
    assert (np.abs(rounded(x, spec) - expected) <= slack(x, spec))[clear].all()


@given(cases())
def test_the_error_is_at_most_half_a_step_of_the_value_s_own_row(case: tuple[np.ndarray, PerFrame]) -> None:
    x, spec = case
    assert (np.abs(rounded(x, spec).astype(np.float64) - x) <= steps_of(x, spec) / 2 + slack(x, spec)).all()


@given(cases())
def test_a_row_is_rounded_as_it_would_be_alone(case: tuple[np.ndarray, PerFrame]) -> None:
    x, spec = case
    for row, together in zip(x, rounded(x, spec), strict=True):
        assert np.array_equal(rounded(row[None], spec)[0], together)


@given(cases())
def test_the_largest_value_of_a_row_is_kept(case: tuple[np.ndarray, PerFrame]) -> None:
    x, spec = case
    largest = np.abs(x).argmax(1) if spec.shift is None else x.argmax(1)
    rows = np.arange(len(x))
    assert np.allclose(rounded(x, spec)[rows, largest], x[rows, largest], rtol=2.0**-22, atol=2.0**-22 * SHIFT)


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
@pytest.mark.parametrize("shift", [None, 0.0, SHIFT, -LOWER_BOUNDS["gelu"], -LOWER_BOUNDS["silu"]])
def test_a_row_of_zeros_stays_one(bits: int, shift: float | None) -> None:
    found = rounded(np.zeros((2, 5), np.float32), PerFrame(bits, shift))
    assert np.abs(found).max() <= (shift or 0.0) * 2.0**-23
    if not shift:
        assert not found.any()


def test_a_row_of_nothing_but_the_lower_bound_stays_one() -> None:
    x = np.full((1, 4), -SHIFT, np.float32)
    assert np.array_equal(rounded(x, PerFrame(shift=SHIFT)), x)


@EACH
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_no_number_spoils_its_row_and_no_other(bad: float, spec: PerFrame) -> None:
    x = np.abs(np.random.default_rng(0).normal(size=(5, 7))).astype(np.float32)
    whole = rounded(x, spec)
    x[2, 3] = bad
    found = rounded(x, spec)
    assert np.isnan(found[2]).all()
    others = [0, 1, 3, 4]
    assert np.array_equal(found[others], whole[others])


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("power", [-90, -60, 0, 60, 120])
def test_tiny_and_huge_rows_keep_as_many_digits_as_others(power: int, bits: int) -> None:
    x = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    factor = np.float32(2.0**power)
    assert np.array_equal(rounded(x * factor, PerFrame(bits)), rounded(x, PerFrame(bits)) * factor)


def test_a_row_below_the_smallest_maximum_is_off_by_no_more_than_itself() -> None:
    x = np.float32([[1e-33, -1e-40, 0.0], [SMALLEST_MAXIMUM, 1.0, -1.0]])
    found = rounded(x, PerFrame())
    assert np.isfinite(found).all()
    assert np.abs(found[0]).max() <= 1e-33
    assert np.allclose(found[1], [0.0, 1.0, -1.0], rtol=2.0**-22)


def test_halves_go_to_the_even_code() -> None:
    """A largest value of 127 has steps of 1."""
    x = np.float32([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5]])
    assert np.allclose(rounded(x, PerFrame()), [[127.0, 0.0, 2.0, 2.0, 0.0, -2.0]], rtol=2.0**-22)


def test_rounding_leaves_its_input_alone() -> None:
    x = np.float32([[0.3, 1.7]])
    for spec in (PerFrame(), PerFrame(shift=SHIFT)):
        rounded(x, spec)
        assert x.tolist() == [[pytest.approx(0.3), pytest.approx(1.7)]]


def test_a_frame_divided_by_its_largest_value_has_the_grid_of_one() -> None:
    assert PerFrame().unit == QuantParams(1 / 127, 0, 8)
    assert PerFrame(shift=0.5).unit == QuantParams(1 / 255, -128, 8)
    assert PerFrame(4, 0.0).unit == QuantParams(1 / 15, -8, 4)
    assert PerFrame().planes == 1


@pytest.mark.parametrize(("bits", "shift"), [(1, None), (17, None), (8, -0.1), (8, float("nan")), (8, float("inf"))])
def test_impossible_grids_are_refused(bits: int, shift: float | None) -> None:
    with pytest.raises(SettingsError, match="bits=|a finite shift of at least 0"):
        PerFrame(bits, shift)


@pytest.mark.parametrize("function", LOWER_BOUNDS)
def test_the_lower_bound_of_an_activation_function_holds_and_is_tight(function: str) -> None:
    for dtype in (torch.float64, torch.float32):
        x = torch.cat([torch.linspace(-40, 40, 2_000_001, dtype=dtype), torch.linspace(-2, 0, 2_000_001, dtype=dtype)])
        least = float(ACTIVATIONS[function](x).min())
        assert LOWER_BOUNDS[function] <= least <= LOWER_BOUNDS[function] + 1e-6
        # What is rounded is never below zero, in the arithmetic that rounds it either.
        assert (ACTIVATIONS[function](x) - LOWER_BOUNDS[function]).min() >= 0
