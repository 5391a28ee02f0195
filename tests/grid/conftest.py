from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from stablequant.grid.histogram import Histogram

Observe = Callable[[np.ndarray], Histogram]


def tensor(kind: str, n: int = 99_991) -> np.ndarray:
    """Return activations of a kind met in speech models, float32 [n]; "outliers" has 0.02 % 100x the bulk."""
    generator = np.random.default_rng(0)
    x = generator.normal(0, 1, n)
    if kind == "relu":
        x = np.maximum(x, 0)
    elif kind == "gelu":
        x = x / (1 + np.exp(-1.702 * x))
    elif kind == "laplace":
        x = generator.laplace(0, 2, n)
    elif kind == "outliers":
        x[: n // 5000] *= 100
    elif kind == "skewed":
        x = generator.lognormal(0, 1.5, n) - 0.5
    return x.astype(np.float32)


KINDS = ("normal", "relu", "gelu", "laplace", "outliers", "skewed")


@pytest.fixture(params=KINDS)
def activation(request: pytest.FixtureRequest) -> np.ndarray:
    return tensor(request.param)


@pytest.fixture
def make() -> Callable[..., np.ndarray]:
    return tensor


@pytest.fixture
def observe() -> Observe:
    def observed(x: np.ndarray) -> Histogram:
        histogram = Histogram("layer")
        histogram.update(torch.from_numpy(x))
        return histogram

    return observed
