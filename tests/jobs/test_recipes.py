"""A recipe is its settings; `fast` takes one pass, no search, and a file with a scale a frame."""

from __future__ import annotations

from pathlib import Path

import pytest
import support

from stablequant.errors import SettingsError
from stablequant.jobs.evaluate import evaluate
from stablequant.jobs.quantize import quantize
from stablequant.recipes import RECIPES, recipe
from stablequant.report.write import read_summary, write_reports
from stablequant.settings import Settings


def test_every_recipe_is_made_of_settings() -> None:
    for name, found in RECIPES.items():
        assert recipe(name) is found
        chosen = Settings.parse(found.settings)
        assert chosen.updated(**found.settings) == chosen
    assert Settings.parse(RECIPES["paper"].settings) == Settings()
    with pytest.raises(SettingsError, match="--recipe best. Expected one of paper, fast"):
        recipe("best")


def test_the_fast_recipe_searches_nothing_and_gives_a_file(tmp_path: Path) -> None:
    manifest = support.small_manifest(tmp_path / "speech.jsonl")
    settings = Settings.parse({**RECIPES["fast"].settings, "calibration_utterances": 3})
    evidence = quantize(str(support.GRAFT), [str(manifest)], tmp_path / "out", settings, report=write_reports)
    summary, plan = read_summary(tmp_path / "out"), evidence.plan
    assert summary["search"]["evaluations"] == summary["search"]["naive"] == 1
    assert summary["ops_int8"] == summary["ops"] == 48
    kinds = {layer.name: [a.kind for a in layer.activations] for layer in plan.layers}
    static = {"wavlm.feature_extractor.conv_layers.0.conv", "wavlm.encoder.pos_conv_embed.conv"}
    assert {name for name, found in kinds.items() if found == ["static"]} == static
    assert all(found == ["per_frame"] for name, found in kinds.items() if name not in static)
    for layer in plan.layers:
        assert (layer.calibrator == "frame") == (layer.name not in static)
        assert layer.sensitivity is None and not layer.flagged and "nothing was searched" in layer.reason
    # Far from what one calibrated scale costs this model.
    assert summary["methods"]["stablequant"]["rate"] < summary["methods"]["max"]["rate"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "46 of 48 layers have a scale for each frame" in page
    assert evaluate(str(tmp_path / "out"), [str(manifest)])["rate"] == summary["int8_file"]["rate"]


def test_a_scale_a_block_is_for_decoders_of_a_scale_a_frame(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="decoder=block with scales=calibrated"):
        quantize(str(support.GRAFT), ["x.jsonl"], tmp_path / "out", Settings.parse({"decoder": "block"}))


def test_a_scale_a_frame_and_a_search_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="scales=frame with strategy=exact"):
        quantize(str(support.GRAFT), ["x.jsonl"], tmp_path / "out", Settings.parse({"scales": "frame"}))
