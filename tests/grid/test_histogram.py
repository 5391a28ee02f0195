from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stablequant.errors import DataError, ModelError, SettingsError
from stablequant.grid.histogram import Histogram

VALUES = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=200)
WIDTH = 2.0**-8


def observed(*parts: torch.Tensor) -> Histogram:
    histogram = Histogram("layer")
    for part in parts:
        histogram.update(part)
    return histogram


def same(a: Histogram, b: Histogram) -> bool:
    left, right = a.to_arrays(), b.to_arrays()
    return all(np.array_equal(left[key], right[key]) for key in left)


@given(VALUES)
def test_every_value_is_in_its_bin(values: list[float]) -> None:
    x = np.array(values, np.float32).astype(np.float64)
    histogram = observed(torch.tensor(values))
    bins = histogram.nonempty()
    assert bins.counts.sum() == histogram.count == len(x)
    assert (histogram.minimum, histogram.maximum) == (x.min(), x.max())
    assert (bins.low[1:] >= bins.high[:-1]).all()
    for view, data in ((bins, x), (histogram.absolute(), np.abs(x))):
        assert view.low[0] >= min(data.min(), 0.0)
        assert view.high[-1] == data.max()
        for i, (low, high, count) in enumerate(zip(*view, strict=True)):
            held = (data >= low) & (data <= high)
            assert held.sum() >= count, i
            near, far = sorted((abs(low), abs(high)))
            if near >= 2.0**-24 and far < 2.0**24:
                assert far - near <= WIDTH * near


@given(st.lists(VALUES, min_size=2, max_size=4))
@settings(max_examples=30)
def test_merge_is_one_pass_in_any_order(batches: list[list[float]]) -> None:
    whole = observed(torch.tensor(list(itertools.chain(*batches))))
    for order in itertools.permutations(batches):
        merged = Histogram("layer")
        for batch in order:
            merged.merge(observed(torch.tensor(batch)))
        assert same(merged, whole)


def test_the_tail_is_seen_at_half_an_int8_step() -> None:
    # Heavy-tailed, as the input of a convolution early in a speech model: the largest value is 100 times the
    # bulk.
    x = np.random.default_rng(0).standard_t(3, 400_000).astype(np.float32)
    histogram = observed(torch.from_numpy(x))
    magnitudes = np.sort(np.abs(x.astype(np.float64)))
    for q in (50, 90, 99, 99.5, 99.9, 99.99, 99.999):
        exact = magnitudes[int(np.ceil(len(x) * q / 100)) - 1]
        assert histogram.percentile_abs(q) == pytest.approx(exact, rel=WIDTH)
        signed = np.percentile(x, q, method="inverted_cdf")
        assert histogram.percentile(q) == pytest.approx(signed, rel=WIDTH, abs=1e-5)
        # Counts are exact at every edge, so the mass above a cut-off is right to the count of one bin.
        above = (magnitudes > histogram.percentile_abs(q)).sum()
        in_bin = (np.abs(magnitudes / exact - 1) <= WIDTH).sum()
        assert abs(above - len(x) * (1 - q / 100)) <= in_bin
    bins = histogram.absolute()
    top = bins.low > bins.high[-1] / 100
    assert (bins.high - bins.low)[top].max() < bins.high[-1] / 127 / 2 * 1.02


def test_percentiles_reach_the_exact_ends() -> None:
    histogram = observed(torch.tensor([-3.3, 1.0, 2.7]))
    assert histogram.percentile(100) == pytest.approx(np.float32(2.7), rel=0, abs=0)
    assert histogram.percentile(0) == np.float32(-3.3)
    assert histogram.percentile_abs(100) == np.float32(3.3).astype(float)
    with pytest.raises(SettingsError, match="percentile 101"):
        histogram.percentile(101)


def test_signs_and_zeros_are_kept_apart() -> None:
    bins = observed(torch.tensor([0.0, -0.0, 0.0, 5.0])).nonempty()
    assert bins.counts[bins.high == 0.0].sum() + bins.counts[bins.low == 0.0].sum() >= 3
    assert bins.low.min() == 0.0
    assert observed(torch.full((7,), -2.5)).nonempty().low.tolist() == [-2.5]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32])
def test_any_dtype_and_layout_counts_the_same(dtype: torch.dtype) -> None:
    x = (torch.randn(4, 6, 50, generator=torch.Generator().manual_seed(0)) * 9).to(dtype)
    expected = observed(x.float().contiguous())
    assert same(observed(x), expected)
    assert same(observed(x.transpose(0, 2)), expected)
    assert same(observed(x[:, ::2], x[:, 1::2]), expected)
    assert same(observed(x[:2].requires_grad_(dtype.is_floating_point), x[2:], x[:0]), expected)


def test_chunks_count_the_same_as_a_whole() -> None:
    x = torch.randn(700_001, generator=torch.Generator().manual_seed(0))
    ends = [-np.inf, -1, -0.5, 0, 0.25, 2, np.inf]
    bins = observed(x).nonempty()
    counts, _ = np.histogram((bins.low + bins.high) / 2, bins=ends, weights=bins.counts)
    assert counts.tolist() == np.histogram(x.numpy(), bins=ends)[0].tolist()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_values_are_refused_and_change_nothing(bad: float) -> None:
    histogram = observed(torch.tensor([1.0, 2.0]))
    with pytest.raises(ModelError, match="layer holds NaN or infinite"):
        histogram.update(torch.tensor([3.0, bad]))
    assert same(histogram, observed(torch.tensor([1.0, 2.0])))


def test_an_empty_histogram_is_named() -> None:
    for view in (Histogram("encoder.conv2").nonempty, Histogram("encoder.conv2").absolute):
        with pytest.raises(DataError, match=r"histogram of encoder\.conv2 is empty"):
            view()


# Peak memory is a high-water mark of the process, so it is taken in one of its own.
MEMORY = """
import resource, torch
from stablequant.observe import Histogram
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
histogram, x = Histogram(), torch.randn(1 << 20)
held = histogram.nbytes
for _ in range(3):
    histogram.update(x)
first = peak()
for i in range(30):
    histogram.update(x * i)
tenfold = peak()
large = torch.zeros(1 << 24)
large.fill_(0.5)
before = peak()
histogram.update(large.view(4, -1).T)
print(tenfold - first, peak() - before, histogram.nbytes - held, histogram.nbytes)
"""


def test_ten_times_the_data_in_the_same_memory() -> None:
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    tenfold, large, grown, held = map(int, run.stdout.split())
    assert (grown, held) == (0, 2 * (48 * 256 + 2) * 8)
    assert tenfold < 8 * 1024  # KiB; the 30 tensors themselves are 120 MiB
    assert large < 16 * 1024  # KiB; the tensor is 64 MiB
