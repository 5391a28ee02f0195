"""A scale a block: the simulator rounds by the formulas of grid/block.py, each block for itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stablequant.errors import SettingsError
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import SMALLEST_MAXIMUM, PerFrame
from stablequant.network.graph import Node
from stablequant.quantize.simulate import fake_quantize

LINEAR = Node("linear", "l", ("x",), ("y",))


def rounded(x: np.ndarray, spec: PerBlock | PerFrame) -> np.ndarray:
    return fake_quantize(torch.from_numpy(x), spec, LINEAR).numpy()


def steps_of(x: np.ndarray, spec: PerBlock) -> np.ndarray:
    """Width of a step of each value, block by block in float64."""
    steps = np.empty(x.shape)
    for first in range(0, x.shape[1], spec.size):
        block = np.abs(x[:, first : first + spec.size].astype(np.float64)).max(1, keepdims=True)
        steps[:, first : first + spec.size] = np.maximum(block, SMALLEST_MAXIMUM) / (2 ** (spec.bits - 1) - 1)
    return steps


def slack(x: np.ndarray, spec: PerBlock) -> np.ndarray:
    """What float32 may add: a few units in the last place of the block's largest value."""
    return steps_of(x, spec) * 2.0**spec.bits * 2.0**-22


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, PerBlock]:
    """Rows of any size, and blocks that end where the rows do, within them or beyond."""
    spec = PerBlock(draw(st.sampled_from([2, 4, 8])), draw(st.sampled_from([1, 3, 4, 16])))
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 12)))
    return draw(arrays.arrays(np.float32, shape, elements=st.floats(-1e4, 1e4, width=32))), spec


@given(cases())
def test_rounding_follows_the_formulas_in_float64(case: tuple[np.ndarray, PerBlock]) -> None:
    x, spec = case
    codes = x.astype(np.float64) / steps_of(x, spec)
    expected = np.rint(codes) * steps_of(x, spec)
    # On the edge between two codes either is right: float32 may fall on the other side.
    clear = 0.5 - np.abs(codes - np.rint(codes)) > 1e-4
    assert (np.abs(rounded(x, spec) - expected) <= slack(x, spec))[clear].all()


@given(cases())
def test_the_error_is_at_most_half_a_step_of_the_value_s_own_block(case: tuple[np.ndarray, PerBlock]) -> None:
    x, spec = case
    assert (np.abs(rounded(x, spec).astype(np.float64) - x) <= steps_of(x, spec) / 2 + slack(x, spec)).all()


@given(cases())
def test_a_block_is_rounded_as_it_would_be_alone(case: tuple[np.ndarray, PerBlock]) -> None:
    x, spec = case
    together = rounded(x, spec)
    assert together.shape == x.shape
    for first in range(0, x.shape[1], spec.size):
        block = slice(first, first + spec.size)
        assert np.array_equal(rounded(x[:, block].copy(), spec), together[:, block])


@given(cases())
def test_one_block_a_row_is_a_symmetric_scale_a_frame(case: tuple[np.ndarray, PerBlock]) -> None:
    x, spec = case
    codes = x.astype(np.float64) / steps_of(x, PerBlock(spec.bits, 12))
    clear = 0.5 - np.abs(codes - np.rint(codes)) > 1e-4
    whole = rounded(x, PerBlock(spec.bits, 12))
    assert np.allclose(whole[clear], rounded(x, PerFrame(spec.bits))[clear], rtol=2.0**-21, atol=0)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_blocks_of_zeros_stay_so_beside_others(bits: int) -> None:
    x = np.zeros((2, 10), np.float32)
    x[1, 5] = 3.0
    assert np.array_equal(rounded(x, PerBlock(bits, 4)), x)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_no_number_spoils_its_block_and_no_other(bad: float) -> None:
    x = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
    whole = rounded(x, PerBlock(size=4))
    x[1, 5] = bad
    found = rounded(x, PerBlock(size=4))
    assert np.isnan(found[1, 4:8]).any()
    whole[1, 4:8] = found[1, 4:8] = 0.0
    assert np.array_equal(found, whole)


def test_halves_go_to_the_even_code() -> None:
    """A largest value of 127 has steps of 1."""
    x = np.float32([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5]])
    assert rounded(x, PerBlock(size=8)).tolist() == [[127.0, 0.0, 2.0, 2.0, 0.0, -2.0]]


def test_rounding_leaves_its_input_alone() -> None:
    x = np.float32([[0.3, 1.7]])
    rounded(x, PerBlock(size=2))
    assert x.tolist() == [[pytest.approx(0.3), pytest.approx(1.7)]]


@pytest.mark.parametrize(("bits", "size"), [(1, 32), (17, 32), (8, 0), (8, -1)])
def test_impossible_grids_are_refused(bits: int, size: int) -> None:
    with pytest.raises(SettingsError, match="bits=|at least 1 channel in a block"):
        PerBlock(bits, size)
