"""A recipe is its settings; `fast` takes one pass, no search, and a file with a scale a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import support

from stablequant.errors import SettingsError
from stablequant.jobs.evaluate import evaluate
from stablequant.jobs.evidence import Evidence
from stablequant.jobs.quantize import quantize
from stablequant.recipes import RECIPES, recipe, recipe_for
from stablequant.report import tables
from stablequant.report.results import read_summary
from stablequant.report.write import write_reports
from stablequant.settings import Settings


def test_every_recipe_is_made_of_settings() -> None:
    for name, found in RECIPES.items():
        assert recipe(name) is found
        chosen = Settings.parse(found.settings)
        assert chosen.updated(**found.settings) == chosen
    assert Settings.parse(RECIPES["paper"].settings) == Settings()
    with pytest.raises(SettingsError, match="--recipe best. Expected one of default, paper, fast"):
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
    with pytest.raises(SettingsError, match="decoder=block with scales=calibrated and strategy=exact"):
        quantize(str(support.GRAFT), ["x.jsonl"], tmp_path / "out", Settings.parse({"decoder": "block"}))


def test_the_default_recipe_chooses_a_scheme_a_layer_without_labels_and_tells_why(tmp_path: Path) -> None:
    manifest = support.small_manifest(tmp_path / "speech.jsonl")
    settings = Settings.parse({**RECIPES["default"].settings, "calibration_utterances": 3, "cost": "model"})
    evidence = quantize(str(support.GRAFT), [str(manifest)], tmp_path / "out", settings, report=write_reports)
    summary, plan = read_summary(tmp_path / "out"), evidence.plan
    assert summary["ops_int8"] == summary["ops"] == 48
    assert sum(summary["allocation"]["schemes"].values()) == 48
    assert summary["allocation"]["divergence"] == pytest.approx(divergence(evidence), rel=1e-3)
    row = summary["methods"]["paper"]
    assert list(summary["methods"]) == ["max", "percentile", "mse", "paper", "stablequant"]
    assert row["flagged"] and 0 <= row["p"] <= 0.5 and row["utterances_searched"] > 0 < row["evaluations"]
    texts = [tables.methods(summary), *((tmp_path / "out" / n).read_text() for n in ("README.md", "report.html"))]
    assert all(f"p {row['p']:g} by divergence" in text.replace("&#39;", "'") for text in texts)
    # A pass for the answers, two and a backward one for the estimate, and two whole models: no trial a layer.
    assert summary["search"]["evaluations"] < 12
    for layer in plan.layers:
        (chosen,) = [option for option in layer.options if option.chosen]
        assert layer.reason.startswith(chosen.scheme)
        frames = [a.kind == "per_frame" for a in layer.activations]
        assert any(frames) == chosen.scheme.startswith("per frame") == (layer.calibrator == "frame")
        costs = {o.scheme: o.cost for o in layer.options if o.cost is not None}
        assert min(costs.values()) in (0.0, 1.0)
        if len(costs) > 1 and chosen.cost == 1.0 != max(costs.values()):
            assert "less time" in layer.reason or "the most accurate" in layer.reason
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count('class="layer wide') == 48
    assert "Stage 1" not in page
    assert "nats of divergence a step" in page
    assert evaluate(str(tmp_path / "out"), [str(manifest)])["rate"] == summary["int8_file"]["rate"]


def divergence(evidence: Evidence) -> float:
    """The divergence of the chosen plan, as it was measured."""
    assert evidence.search.allocation is not None
    return evidence.search.allocation.chosen.score.rate


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"gamma": 0.5}, r"search\.gamma=0\.5 with strategy=allocate\. Expected a strategy with stages"),
        ({"planes": 2}, r"activations\.planes=2 with strategy=allocate"),
        ({"max_drop": 0.5}, r"search\.max_drop=0\.5 with strategy=allocate.*Fix: --recipe paper"),
        ({"objective": "task"}, r"strategy=allocate with objective=task\. Expected objective=divergence"),
    ],
)
def test_a_setting_that_a_choice_of_schemes_would_ignore_is_refused(tmp_path: Path, settings: Any, told: str) -> None:
    chosen = Settings.parse({**RECIPES["default"].settings, **settings})
    with pytest.raises(SettingsError, match=told):
        quantize(str(support.GRAFT), ["x.jsonl"], tmp_path / "out", chosen)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "default"),
        ({"rounding": "nearest", "seed": 3}, "default"),
        ({"p_step": 0.25}, "paper"),
        ({"search.gamma": 0.25}, "paper"),  # named, be it with the value that it has
        ({"search": {"p_max": 0.1}}, "paper"),
        ({"planes": 2}, "paper"),
        ({"search": "racing"}, "paper"),
        ({"strategy": "exact"}, "paper"),
        ({"strategy": "none"}, "default"),
        ({"objective": "divergence"}, "default"),
        ({"search": {"allowance": 0.3}, "weights": {"range": "mse"}}, "default"),
    ],
)
def test_settings_that_one_recipe_alone_reads_ask_for_it(given: dict[str, Any], name: str) -> None:
    assert recipe_for(given).name == name
    assert recipe_for(given, "fast").name == "fast"


def test_a_scale_a_frame_and_a_search_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="scales=frame with strategy=exact"):
        quantize(str(support.GRAFT), ["x.jsonl"], tmp_path / "out", Settings.parse({"scales": "frame"}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"bits": "w6a6"},
            r"weights of 6 bits in groups of 32 and activations of 6. Expected 8 bits of both; or.*4 or 8 bits",
        ),
        ({"bits": 4}, "weights of 4 bits and activations of 4"),
        ({"weights": "4g24"}, "weights of 4 bits in groups of 24"),
        ({"step_bits": 5, "step_group": 32}, "weights of 5 bits in groups of 32"),
        ({"convolutions": 4}, "convolutions of 4 bits and activations of 4"),
        ({"target_bytes": 0.2, "bits": "w4a8"}, "target_bytes or max_divergence beside widths.*leave the widths out"),
        ({"target_bytes": 0.2, "step_bits": 4, "step_group": 32}, "beside widths"),
        ({"max_divergence": 0.01, "strategy": "none", "scales": "frame"}, "or without strategy=allocate"),
        ({"target_bytes": 0.2, "max_divergence": 0.01}, "target_bytes and max_divergence. Expected one of them"),
        ({"bits": "w4a8", "strategy": "exact"}, "with strategy=exact.*--recipe default or fast"),
        ({"bits": "w4a8", "strategy": "none"}, "with calibrated scales.*--recipe fast"),
    ],
)
def test_widths_without_kernels_are_refused_with_those_that_have_some(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    allocated = {"strategy": "allocate", "objective": "divergence"}
    with pytest.raises(SettingsError, match=message):
        quantize(str(support.GRAFT), ["x.jsonl"], tmp_path / "out", Settings.parse({**allocated, **given}))
