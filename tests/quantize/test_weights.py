"""Integer weights come from one place, are made once, and a weight that cannot be quantised is named."""

from __future__ import annotations

import pytest
import support
import torch

from stablequant.errors import ModelError
from stablequant.grid.weights import PerTensor, WeightSpec, quantize_weight
from stablequant.quantize.weights import WeightStore


@pytest.mark.parametrize("spec", [WeightSpec(), WeightSpec(4, PerTensor(), "mse")])
def test_codes_are_those_of_the_spec_and_made_once(spec: WeightSpec) -> None:
    weights = support.graft().layer_weights()
    store, name = WeightStore(weights), list(weights)[5]
    made, expected = store.codes(name, spec), quantize_weight(weights[name], spec)
    assert torch.equal(made.codes, expected.codes)
    assert torch.equal(made.scales, expected.scales)
    assert store.codes(name, spec) is made


def test_every_layer_of_a_model_has_a_weight() -> None:
    for build in support.MODELS.values():
        assert list(build().layer_weights()) == [op.name for op in build().ops()]


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_weight_that_is_not_finite_is_named_with_its_layer(value: str) -> None:
    store = WeightStore({"good": torch.ones(2, 2), "encoder.fc1": torch.tensor([[1.0, float(value)]])})
    store.codes("good", WeightSpec())
    with pytest.raises(ModelError, match=r"encoder\.fc1: the weights hold NaN.*Expected finite weights.*Fix: check"):
        store.codes("encoder.fc1", WeightSpec())
