"""Integer weights come from one place, are made once, and a weight that cannot be quantised is named."""

from __future__ import annotations

import pytest
import support
import torch

from stablequant.errors import ModelError, PlanError
from stablequant.grid.moments import fit_weight
from stablequant.grid.weights import PerGroup, PerTensor, WeightSpec, quantize_weight
from stablequant.observe.moments import StoredMoments, moments_once
from stablequant.quantize.weights import WeightStore

GROUPED = "wavlm.encoder.pos_conv_embed.conv"
LAYER = "wavlm.encoder.layers.1.attention.q_proj"


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> StoredMoments:
    path = tmp_path_factory.mktemp("moments") / "moments.safetensors"
    return moments_once(support.graft(), support.speech(support.CALIBRATION[:1]), path)


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


@pytest.mark.parametrize(
    "spec", [WeightSpec(rounding="gptq", correct_bias=True), WeightSpec(4, PerGroup(32), "mse", "gptq")]
)
def test_weights_are_made_for_the_speech_that_was_observed(spec: WeightSpec, moments: StoredMoments) -> None:
    store, weights = WeightStore.of(support.graft(), moments), support.graft().layer_weights()
    made, expected = store.codes(LAYER, spec), fit_weight(weights[LAYER], spec, moments[LAYER])
    assert made.spec == store.fitted(LAYER, spec) == spec
    assert torch.equal(made.codes, expected.codes)
    assert (made.correction is None) == (not spec.correct_bias)
    assert store.codes(LAYER, spec) is made
    assert store.made_from and not WeightStore.of(support.graft()).made_from


def test_a_layer_has_what_it_can_have(moments: StoredMoments) -> None:
    spec = WeightSpec(rounding="gptq", correct_bias=True)
    store = WeightStore.of(support.graft(), moments)
    assert store.fitted(GROUPED, spec) == store.codes(GROUPED, spec).spec == WeightSpec()
    assert torch.equal(store.codes(GROUPED, spec).codes, store.codes(GROUPED, WeightSpec()).codes)
    unbiased = WeightStore(support.graft().layer_weights(), moments)
    assert unbiased.fitted(LAYER, spec) == WeightSpec(rounding="gptq")
    assert unbiased.codes(LAYER, spec).correction is None


def test_kept_codes_need_no_speech_and_others_are_refused_without() -> None:
    weights, spec = support.graft().layer_weights(), WeightSpec(rounding="gptq")
    kept = {LAYER: quantize_weight(weights[LAYER] / 2, WeightSpec())}
    kept = {name: type(held)(held.codes, held.scales, spec) for name, held in kept.items()}
    store = WeightStore(weights, kept=kept)
    assert store.codes(LAYER, spec) is kept[LAYER]
    assert torch.equal(store.codes(LAYER, WeightSpec()).codes, quantize_weight(weights[LAYER], WeightSpec()).codes)
    for other in (WeightSpec(correct_bias=True), WeightSpec(4, rounding="gptq")):
        with pytest.raises(
            PlanError, match=f"weights of {LAYER} are made for calibration speech.*Fix: run stablequant"
        ):
            store.codes(LAYER, other)


def test_of_codes_only_those_of_speech_stay_when_the_nearest_are_let_go(moments: StoredMoments) -> None:
    store = WeightStore(support.graft().layer_weights(), moments)
    nearest, fitted = (store.codes(LAYER, spec) for spec in (WeightSpec(), WeightSpec(rounding="gptq")))
    store.let_go_nearest()
    assert store.codes(LAYER, WeightSpec(rounding="gptq")) is fitted
    again = store.codes(LAYER, WeightSpec())
    assert again is not nearest
    assert torch.equal(again.codes, nearest.codes)
