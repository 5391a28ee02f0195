"""Weights that are made for calibration speech: simulation, every file and PyTorch have the same codes, from the run's folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import support
import torch
from onnx import numpy_helper
from run_folders import list_anew
from safetensors.torch import load_file, save_file

from stablequant.errors import ModelError, PlanError
from stablequant.grid.moments import fit_weight
from stablequant.grid.weights import QuantizedWeight, WeightSpec, quantize_weight
from stablequant.jobs.evaluate import evaluate
from stablequant.jobs.evidence import Evidence
from stablequant.jobs.export import export
from stablequant.jobs.open import open_model, open_plan, planned_weights
from stablequant.jobs.quantize import CODES, quantize
from stablequant.quantize import weights
from stablequant.quantize.weight_file import NAME, load_weights
from stablequant.runtime.torch_int8 import TorchInt8Backend
from stablequant.settings import Settings

GROUPED = "wavlm.encoder.pos_conv_embed.conv"
SPEC = WeightSpec(rounding="gptq", correct_bias=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder = tmp_path_factory.mktemp("weights")
    manifest = support.small_manifest(folder / "speech.jsonl", 3)
    values = {"scales": "frame", "strategy": "none", "rounding": "gptq", "correct_bias": True}
    return quantize(str(support.GRAFT), [str(manifest)], folder / "out", Settings.parse(values))


@pytest.fixture
def folder(made: Evidence, tmp_path: Path) -> Path:
    """A copy without what the run keeps to go on from: the speech's moments."""
    return Path(shutil.copytree(made.job.out, tmp_path / "out", ignore=shutil.ignore_patterns("moments.*", "*.npz")))


def integers(path: Path) -> dict[str, np.ndarray]:
    """The integer weights of a file by the name of the checkpoint's."""
    found = {i.name: numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}
    return {
        n.rpartition(".")[0]: a.astype(int) - (128 if n.endswith("uint8") else 0)
        for n, a in found.items()
        if "int8" in n
    }


def test_the_plan_tells_which_layers_have_them(made: Evidence) -> None:
    layers = {layer.name: layer.weight for layer in made.plan.layers}
    assert {name for name, w in layers.items() if w and w.rounding == "nearest"} == {GROUPED}
    assert all(w and w.correct_bias == (name != GROUPED) for name, w in layers.items())
    raw = json.loads((made.job.out / "plan.json").read_text())
    weight = next(layer["weight"] for layer in raw["layers"] if layer["name"] == "lm_head")
    assert (weight["rounding"], weight["correct_bias"]) == ("gptq", True)
    assert made.plan.settings.weights.rounding == "gptq"
    assert NAME in json.loads((made.job.out / "manifest.json").read_text())["files"]
    assert len(load_weights(made.job.out, made.plan)) == 47


def test_codes_are_the_same_everywhere_with_the_speech_gone(made: Evidence, folder: Path) -> None:
    plan, model = open_plan(folder)
    store = planned_weights(folder, plan, model)
    export(folder, "openvino")
    moved = 0
    files = [integers(folder / name) for name in ("model.onnx", "model.openvino.onnx")]
    before = support.checksum(model.graphs[0].weights)
    int8 = TorchInt8Backend(model, plan.scheme(), weights=store)._executors["model"].graph.weights
    assert support.checksum(model.graphs[0].weights) == before
    for op in model.ops():
        held, key = store.codes(op.name, plan.scheme()[op.name].weight), op.node.weights["weight"]  # type: ignore[arg-type]
        moved += int((held.codes != quantize_weight(model.layer_weights()[op.name], WeightSpec()).codes).sum())
        codes = held.codes.numpy().astype(int)
        for file in files:
            assert np.array_equal(np.sort(file[key].ravel()), np.sort(codes.ravel()))
            if held.codes.ndim == 2:
                assert np.array_equal(file[key].T, codes)
        assert torch.equal(int8[key][:, : codes[0].size], held.codes.flatten(1))
    assert moved > 10_000
    # The same transcripts as in the run, and as in its file.
    simulated = evaluate(str(folder), made.job.sources, simulate=True)
    assert [t["hypothesis"] for t in simulated["transcripts"]] == [a.text for a in made.test["stablequant"].answers]


def test_a_bias_is_corrected_in_every_form(folder: Path) -> None:
    features = support.graft().frontend.features([support.waveform("is-set-to")])
    found = {}
    for name, options in (("file", {}), ("simulation", {"simulate": True}), ("torch", {"runtime": "torch"})):
        opened = open_model(folder, **options)  # type: ignore[arg-type]
        outputs = opened.frontend.encode(opened.backend, features)
        found[name] = opened.backend.get(outputs["logits"])
    for name in ("file", "torch"):
        assert support.relative_difference(found[name], found["simulation"]) < 0.05
    # Corrections alone move the logits: a form that left them out would be seen.
    kept = load_file(folder / NAME)
    save_file({k: v * 30 if k.endswith("correction") else v for k, v in kept.items()}, folder / NAME, _about(folder))
    list_anew(folder)
    for options in ({"simulate": True}, {"runtime": "torch"}):
        opened = open_model(folder, **options)  # type: ignore[arg-type]
        logits = opened.backend.get(opened.frontend.encode(opened.backend, features)["logits"])
        assert support.relative_difference(logits, found["simulation"]) > 0.1
    export(folder, "onnxruntime", sources=[])


def _about(folder: Path) -> dict[str, str]:
    return {"model": open_plan(folder)[0].model.fingerprint}


def test_without_them_nothing_but_the_file_runs(folder: Path) -> None:
    (folder / NAME).unlink()
    for use in (
        lambda: open_model(folder, simulate=True),
        lambda: open_model(folder, runtime="torch"),
        lambda: export(folder, "openvino"),
    ):
        with pytest.raises(
            ModelError, match=r"weights\.safetensors is missing.*Fix: run the same stablequant quantize"
        ):
            use()
    assert open_model(folder).runtime.startswith("onnxruntime")


def test_foreign_ones_are_refused_by_name(folder: Path) -> None:
    whole = load_file(folder / NAME)
    save_file(whole, folder / NAME, {"model": "another"})
    with pytest.raises(ModelError, match=r"weights\.safetensors is damaged, or of another run"):
        open_model(folder, simulate=True)
    list_anew(folder)
    with pytest.raises(
        PlanError, match=r"weights\.safetensors does not hold the weights of this plan: .*another model"
    ):
        open_model(folder, simulate=True)
    save_file({k: v for k, v in whole.items() if not k.startswith("lm_head")}, folder / NAME, _about(folder))
    list_anew(folder)
    with pytest.raises(PlanError, match=r"weights\.safetensors does not hold the weights of this plan: .*lm_head"):
        export(folder, "openvino")


def test_a_run_that_was_stopped_rounds_no_layer_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    manifest, rounded = support.small_manifest(tmp_path / "speech.jsonl", 3), []

    def fitted(*given: Any) -> QuantizedWeight:
        rounded.append(given)
        if len(rounded) == 9:
            raise KeyboardInterrupt
        return fit_weight(*given)

    def run() -> Evidence:
        values = {"scales": "frame", "strategy": "none", "rounding": "gptq", "correct_bias": True}
        return quantize(str(support.GRAFT), [str(manifest)], tmp_path / "out", Settings.parse(values))

    monkeypatch.setattr(weights, "fit_weight", fitted)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(list((tmp_path / "out" / CODES).iterdir())) == 8
    evidence = run()
    assert len(rounded) == 1 + len(load_weights(evidence.job.out, evidence.plan))
    assert not (tmp_path / "out" / CODES).exists()
