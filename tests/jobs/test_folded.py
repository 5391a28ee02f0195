"""A run that folds its model: everything that opens it folds as it did, and what it is set beside is not folded."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import support
import torch
from run_folders import list_anew
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stablequant.errors import ModelError, PlanError
from stablequant.families import scaled_weights
from stablequant.families.checkpoint import load
from stablequant.grid.weights import quantize_weight
from stablequant.jobs.evaluate import evaluate
from stablequant.jobs.evidence import BASELINES, Evidence
from stablequant.jobs.export import export
from stablequant.jobs.open import open_model, open_plan
from stablequant.jobs.quantize import FACTORS, quantize
from stablequant.quantize.folding import fold, trained
from stablequant.quantize.folding.kept import NAME, folded_once
from stablequant.quantize.folding.smooth import smooth_factors
from stablequant.quantize.folding.trained import left_if_trained, on_their_grid
from stablequant.quantize.scheme import weight_spec
from stablequant.settings import Settings

FAST: dict[str, Any] = {"scales": "frame", "strategy": "none"}


def run(folder: Path, **settings: Any) -> Evidence:
    manifest = support.small_manifest(folder / "speech.jsonl", 3)
    return quantize(str(support.GRAFT), [str(manifest)], folder / "out", Settings.parse(FAST | settings))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return run(tmp_path_factory.mktemp("folded"), fold="smooth")


@pytest.fixture
def folder(made: Evidence, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.job.out, tmp_path / "out"))


def test_simulation_and_files_are_of_the_folded_model_with_the_speech_gone(made: Evidence, folder: Path) -> None:
    plan, model = open_plan(folder)
    assert plan.model.fingerprint == model.fingerprint != support.graft().fingerprint
    layer = "wavlm.encoder.layers.1.feed_forward.intermediate_dense"
    factors = load_file(folder / NAME)[layer]
    assert factors.max() > 2 * factors.min() > 0
    weight = support.graft().layer_weights()[layer]
    torch.testing.assert_close(model.layer_weights()[layer], weight * factors)
    simulated = evaluate(str(folder), made.job.sources, simulate=True)
    assert [t["hypothesis"] for t in simulated["transcripts"]] == [a.text for a in made.test["stablequant"].answers]
    export(folder, "openvino", sources=[])
    features = support.graft().frontend.features([support.waveform("is-set-to")])
    outputs = {}
    for name, options in (("file", {}), ("simulation", {"simulate": True}), ("torch", {"runtime": "torch"})):
        opened = open_model(folder, **options)  # type: ignore[arg-type]
        outputs[name] = opened.backend.get(opened.frontend.encode(opened.backend, features)["logits"])
    for name in ("file", "torch"):
        assert support.relative_difference(outputs[name], outputs["simulation"]) < 0.05


def test_the_factors_are_those_of_the_method_and_found_again(made: Evidence, tmp_path: Path) -> None:
    model, speech = support.graft(), made.job.speech["calibration"]
    kept = load_file(made.job.out / NAME)
    once = folded_once(model, speech, "smooth", tmp_path / "again", [made.job.out / NAME])
    assert once.fingerprint == made.job.model.fingerprint
    assert once.notes == model.notes
    assert load_file(tmp_path / "again").keys() == kept.keys()
    assert fold(model, speech, "smooth").model.fingerprint == once.fingerprint
    assert not (made.job.out / FACTORS).exists()
    # By hand, for a layer behind a norm that is not folded otherwise.
    layer = next(name for name in kept if name.endswith("layers.2.feed_forward.intermediate_dense"))
    channels = torch.full((len(kept[layer]),), 2.0)
    weight = model.layer_weights()[layer].double()
    assert smooth_factors(channels, [weight], 0.5).shape == kept[layer].shape


def test_other_methods_are_measured_on_the_checkpoint_as_it_is(made: Evidence, tmp_path: Path) -> None:
    plain = run(tmp_path)
    for name in ("float", *BASELINES):
        assert [a.text for a in made.test[name].answers] == [a.text for a in plain.test[name].answers]
    assert open_plan(made.job.out, folded=False)[1].fingerprint == support.graft().fingerprint


def test_where_activations_stay_in_float_nothing_is_smoothed() -> None:
    assert Settings.parse({"fold": "smooth", "bits": "w4a16"}).fold == "none"
    assert Settings.parse({"fold": "awq", "bits": "w4a16"}).fold == "awq"
    assert Settings.parse({"fold": "smooth", "bits": "w4a8"}).fold == "smooth"


def test_factors_that_are_missing_or_others_are_refused(folder: Path) -> None:
    factors = load_file(folder / NAME)
    with safe_open(folder / NAME, "pt") as file:
        about = file.metadata()
    save_file({k: 2 * v for k, v in factors.items()}, folder / NAME, about)
    with pytest.raises(ModelError, match=r"fold\.safetensors is damaged, or of another run"):
        open_plan(folder)
    list_anew(folder)
    with pytest.raises(PlanError, match="the plan was made for"):
        open_plan(folder)
    first = next(iter(factors))
    save_file({k: v for k, v in factors.items() if k != first}, folder / NAME, about)
    list_anew(folder)
    with pytest.raises(PlanError, match=r"fold\.safetensors does not fit the model"):
        open_plan(folder)
    meta = json.loads(about["stablequant"]) | {"model": "another"}
    save_file(factors, folder / NAME, {"stablequant": json.dumps(meta)})
    list_anew(folder)
    with pytest.raises(PlanError, match=r"made for another checkpoint \(another\).*--checkpoint"):
        open_plan(folder)
    save_file(factors, folder / NAME)
    list_anew(folder)
    with pytest.raises(PlanError, match="does not hold the factors of this plan's fold"):
        open_plan(folder)
    (folder / NAME).unlink()
    with pytest.raises(ModelError, match=r"fold\.safetensors is missing"):
        open_plan(folder)
    assert open_model(folder).runtime.startswith("onnxruntime")


def test_products_of_a_large_model_are_multiplied_each_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    speech, layer = support.speech(support.CALIBRATION[:1]), "wavlm.encoder.layers.1.feed_forward.intermediate_dense"
    small = folded_once(support.graft(), speech, "smooth", tmp_path / "factors").graphs[0].weights
    assert small[f"{layer}.weight"] is small[f"{layer}.weight"]
    monkeypatch.setattr(scaled_weights, "SMALL", 0)
    large = folded_once(support.graft(), speech, "smooth", tmp_path / "factors").graphs[0].weights
    assert large[f"{layer}.weight"] is not large[f"{layer}.weight"]
    assert torch.equal(large[f"{layer}.weight"], small[f"{layer}.weight"])


def test_weights_that_lie_on_their_grid_are_left_there(tmp_path: Path) -> None:
    """As after training for it; for other widths they are weights as any."""
    asked = Settings.parse({"fold": "smooth", "bits": "w4a8"})
    spec, weights = weight_spec(asked.weights), support.graft().layer_weights()
    tuned = Path(shutil.copytree(support.GRAFT, tmp_path / "tuned"))
    held = load_file(tuned / "model.safetensors")
    stored = {name: held[f"{name}.weight"] for name in weights if f"{name}.weight" in held}
    layers = [name for name, value in stored.items() if value.shape == weights[name].shape]
    assert len(layers) > 0.8 * len(weights)
    held |= {f"{name}.weight": quantize_weight(weights[name], spec).dequantized() for name in layers}
    save_file(held, tuned / "model.safetensors", {"format": "pt"})
    model = load(tuned)
    assert on_their_grid(model, replace(spec, rounding="gptq"))
    assert not on_their_grid(model, replace(spec, bits=8))
    assert not on_their_grid(support.graft(), spec)
    pruned = {
        f"{name}.weight": torch.where(stored[name].abs() < stored[name].abs().median(), 0.0, stored[name])
        for name in layers
    }
    save_file(held | pruned, tuned / "model.safetensors", {"format": "pt"})
    assert not on_their_grid(load(tuned), spec)
    left, settings = left_if_trained(model, asked)
    assert (left.fingerprint, settings.fold) == (model.fingerprint, "none")
    assert "the weights lie on their grid" in left.notes[-1]
    assert left_if_trained(support.graft(), asked)[1].fold == "smooth"


def test_a_run_says_that_it_left_the_channels_as_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trained, "on_their_grid", lambda *_: True)
    evidence = run(tmp_path, fold="smooth")
    assert any("fold=smooth would move them off it" in warning for warning in evidence.warnings)
    assert open_plan(evidence.job.out)[1].fingerprint == support.graft().fingerprint
    assert not (evidence.job.out / NAME).exists()
