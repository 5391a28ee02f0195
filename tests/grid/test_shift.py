from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from stablequant.grid import shift
from stablequant.grid.affine import QuantParams
from stablequant.grid.histogram import JOINED_EDGES, Histogram


def observed(x: torch.Tensor) -> Histogram:
    histogram = Histogram("layer")
    histogram.update(x)
    return histogram


def test_joined_bins_are_an_eighth_of_an_octave_and_lose_nothing() -> None:
    x = torch.tensor([0.0, 1e-9, -1e-9, 1.0, 1.1, 1.13, -3.0, 1e9])
    counts = observed(x).joined()
    assert len(counts) == len(JOINED_EDGES) - 1
    assert (np.diff(JOINED_EDGES) > 0).all()
    held = {(low, high): n for low, high, n in zip(JOINED_EDGES[:-1], JOINED_EDGES[1:], counts, strict=True) if n}
    assert held == {
        (0.0, 2.0**-24): 2,
        (-(2.0**-24), 0.0): 1,
        (1.0, 1.125): 2,
        (1.125, 1.25): 1,
        (-3.25, -3.0): 1,
        (2.0**24, 2.0**25): 1,
    }


def test_values_beyond_a_grid_are_those_whose_codes_are_clamped() -> None:
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    for grid in (QuantParams(1.5 / 127), QuantParams(2.0 / 255, -20)):
        codes = np.rint(x.numpy() / grid.scale) + grid.zero_point
        clamped = int(((codes < grid.qmin) | (codes > grid.qmax)).sum())
        ends = grid.unclipped
        assert observed(x).outside(ends.low, ends.high) == pytest.approx(clamped, rel=0.01)
        assert observed(x[:100] / 100).outside(ends.low, ends.high) == 0


def test_the_distance_is_scipy_s_and_the_index_is_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5000, generator=generator) * torch.tensor([[1.0], [1.2]]) + torch.tensor([[0.0], [0.3]])
    counts = np.stack([observed(x).joined() for x in (a, b)])
    centres = (JOINED_EDGES[1:] + JOINED_EDGES[:-1]) / 2
    p, q = counts / counts.sum(1, keepdims=True)
    distance = shift.wasserstein(p, q, centres)
    assert distance == pytest.approx(wasserstein_distance(centres, centres, p, q), rel=1e-6)
    assert distance == pytest.approx(wasserstein_distance(a.numpy(), b.numpy()), rel=0.05)

    starts = shift.groups(q)
    ends = [*starts[1:], len(q)]
    pairs = [(p[i:j].sum(), q[i:j].sum()) for i, j in zip(starts, ends, strict=True)]
    assert min(held for _, held in pairs) >= shift.GROUP
    assert 12 <= len(pairs) <= 20
    expected = sum((x - y) * np.log(x / y) for x, y in pairs)
    assert shift.stability_index(p, q, starts) == pytest.approx(expected)
    assert shift.stability_index(q, q, starts) == 0
