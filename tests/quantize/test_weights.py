"""Integer weights come from one place, are made once, and a weight that cannot be quantised is named."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import support
import torch

from stablequant.errors import ModelError, PlanError
from stablequant.grid.gptq import changes
from stablequant.grid.moments import LOOKUPS, fit_weight
from stablequant.grid.weights import PerGroup, PerTensor, QuantizedWeight, WeightSpec, quantize_weight
from stablequant.observe.moments import StoredMoments, moments_once
from stablequant.quantize import weights as weights_of
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


def test_codes_in_a_folder_are_read_and_not_made_again(
    moments: StoredMoments, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    specs = [
        WeightSpec(rounding="gptq"),
        WeightSpec(rounding="adaround", iterations=3),
        WeightSpec(4, PerGroup(32), "mse", "gptq", correct_bias=True),
    ]
    first = WeightStore.of(support.graft(), moments, tmp_path)
    made = [first.codes(LAYER, spec) for spec in specs]
    rounded: list[str] = []
    monkeypatch.setattr(weights_of, "fit_weight", lambda w, s, m: rounded.append(s.rounding) or fit_weight(w, s, m))
    first.let_go()
    again = WeightStore.of(support.graft(), moments, tmp_path)
    for store in (first, again):
        for spec, held in zip(specs, made, strict=True):
            found = store.codes(LAYER, spec)
            assert found is not held
            assert (found.spec, found.codes.tolist()) == (held.spec, held.codes.tolist())
            assert torch.equal(found.scales, held.scales)
            assert (found.correction is None) == (held.correction is None)
            assert found.correction is None or torch.equal(found.correction, held.correction)  # type: ignore[arg-type]
    first.let_go()
    elsewhere = pickle.loads(pickle.dumps(first))
    shutil.copytree(tmp_path, tmp_path.with_name("kept"))
    shutil.rmtree(tmp_path)
    assert torch.equal(elsewhere.codes(LAYER, specs[0]).codes, made[0].codes)
    assert not rounded
    shutil.copytree(tmp_path.with_name("kept"), tmp_path)
    again.codes(LAYER, WeightSpec(7, rounding="gptq"))  # another spec
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-7])
    WeightStore.of(support.graft(), moments, tmp_path).codes(LAYER, specs[0])  # damaged
    assert rounded == ["gptq", "gptq"]


def test_a_head_that_an_embedding_reads_too_is_rounded_for_both(tmp_path: Path) -> None:
    model, spec = support.moonshine(), WeightSpec(4, PerGroup(32), "mse", "gptq")
    moments = moments_once(model, support.speech(support.CALIBRATION[:2]), tmp_path / "moments.safetensors")
    weights, store, name = model.layer_weights(), WeightStore.of(model, moments), "proj_out"
    w, gram = weights[name], moments[name].gram
    alone = fit_weight(w, spec, moments[name])
    assert torch.equal(WeightStore(weights, moments).codes(name, spec).codes, alone.codes)
    both = store.codes(name, spec)
    identity = torch.eye(len(gram)) * float(gram.diagonal().mean())
    weighed = torch.eye(len(gram)) * (LOOKUPS * float(gram.diagonal().mean()))
    assert torch.equal(both.codes, fit_weight(w, spec, replace(moments[name], gram=gram + weighed)).codes)

    def lost(held: QuantizedWeight, second: torch.Tensor) -> float:
        return float(changes(w - held.dequantized(), second).sum())

    nearest = quantize_weight(w, replace(spec, rounding="nearest"))
    # What the decoder looks up errs less than behind GPTQ for the logits alone, and the logits much less than nearest codes'.
    assert lost(both, identity) < 0.9 * lost(alone, identity)
    assert lost(both, gram) < 0.5 * lost(nearest, gram)
    other = "model.decoder.layers.0.mlp.fc1"
    assert torch.equal(store.codes(other, spec).codes, fit_weight(weights[other], spec, moments[other]).codes)
