"""Plans of schema version 1 are read as plans of today's, and what is wrong in one is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stablequant.errors import PlanError
from stablequant.grid.affine import QuantParams
from stablequant.grid.weights import PerTensor, WeightSpec
from stablequant.quantize.plan import SCHEMA_VERSION, Plan, SpeechIdentity
from stablequant.quantize.scheme import LayerScheme
from stablequant.settings import Settings


def activation(scale: float, zero_point: int, planes: int = 1) -> dict[str, Any]:
    values = {"scale": scale, "zero_point": zero_point, "bits": 8, "minimum": -3.5, "maximum": 14.25, "cutoff": 12.7}
    return values | {"planes": planes}


def layer(name: str, kind: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "graph": "model",
        "kind": kind,
        "calibrator": "entropy",
        "p": None,
        "flagged": False,
        "sensitivity": 0.125,
        "sensitivity_interval": [-0.1, 0.35],
        "reason": "not sensitive: alone it costs +0.12 points of WER, at most gamma 0.5",
        "activations": [activation(0.1, 3)],
        "weight": {"bits": 8, "granularity": "tensor", "method": "mse"},
        **changes,
    }


def version_1() -> dict[str, Any]:
    """As the first version wrote it, every setting and layer form."""
    return {
        "schema_version": 1,
        "model": {"name": "a/model", "fingerprint": "f" * 64, "details": {"family": "wavlm"}},
        "data": {
            "calibration": {
                "name": "a.jsonl, b",
                "fingerprint": "c" * 64,
                "details": {"utterances": 5, "seconds": 9.5},
            },
            "dev": {"name": "a.jsonl, b", "fingerprint": "d" * 64, "details": {}},
            "test": {"name": "a.jsonl, b", "fingerprint": "e" * 64, "details": {}},
        },
        "settings": {
            "bits": 8,
            "symmetric": False,
            "attention_matmuls": True,
            "weight_granularity": "tensor",
            "weight_method": "mse",
            "gamma": 0.5,
            "beyond_chance": True,
            "search": "racing",
            "stage1_calibrator": "percentile",
            "percentile": 99.9,
            "base_calibrator": "entropy",
            "p_max": 0.4,
            "p_step": 0.02,
            "grid": "scale",
            "p_per_layer": True,
            "removed": "fold",
            "planes": 2,
            "max_drop": 1.5,
            "max_drop_by": "work",
            "normalizer": "basic",
            "seed": 7,
            "max_bad_fraction": 0.05,
            "batch_size": 4,
            "batch_seconds": 20.0,
            "calibration_utterances": 99,
            "tolerance": 0.3,
        },
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "p": 0.02,
        "layers": [
            layer("conv1", "conv1d"),
            layer(
                "conv2", "conv1d", calibrator="clipped_mse", p=0.02, flagged=True, activations=[activation(0.2, 0, 2)]
            ),
            layer("scores", "matmul", activations=[activation(0.3, 1), activation(0.4, -1)], weight=None),
            layer("head", "linear", calibrator="float", activations=[], weight=None, sensitivity_interval=None),
        ],
    }


def loaded(content: dict[str, Any], folder: Path) -> Plan:
    (folder / "plan.json").write_text(json.dumps(content))
    return Plan.load(folder / "plan.json")


def test_its_layers_are_quantised_as_they_were(tmp_path: Path) -> None:
    plan, weight = loaded(version_1(), tmp_path), WeightSpec(8, PerTensor(), "mse")
    assert plan.scheme() == {
        "conv1": LayerScheme((QuantParams(0.1, 3),), weight),
        "conv2": LayerScheme((QuantParams(0.2, 0, planes=2),), weight),
        "scores": LayerScheme((QuantParams(0.3, 1), QuantParams(0.4, -1)), None),
    }
    assert plan.flagged == ("conv2",)
    assert [(entry.name, entry.p, entry.sensitivity) for entry in plan.layers][1] == ("conv2", 0.02, 0.125)


def test_every_setting_has_found_its_group(tmp_path: Path) -> None:
    settings = loaded(version_1(), tmp_path).settings
    assert settings.flat() == Settings().flat() | {
        "data.task": Settings().data.task,
        "data.normalizer": "basic",
        "data.language": None,
        "data.translate": False,
        "data.seed": 7,
        "data.max_bad_fraction": 0.05,
        "data.batch_size": 4,
        "data.batch_seconds": 20.0,
        "data.calibration_utterances": 99,
        "activations.bits": 8,
        "activations.scales": "calibrated",
        "activations.symmetric": False,
        "activations.calibrator": "entropy",
        "activations.percentile": 99.9,
        "activations.removed": "fold",
        "activations.planes": 2,
        "activations.attention_matmuls": True,
        "weights.bits": 8,
        "weights.granularity": "tensor",
        "weights.range": "mse",
        "weights.rounding": "nearest",
        "weights.correct_bias": False,
        "search.gamma": 0.5,
        "search.beyond_chance": True,
        "search.strategy": "racing",
        "search.stage1_calibrator": "percentile",
        "search.p_max": 0.4,
        "search.p_step": 0.02,
        "search.p_spacing": "scale",
        "search.p_per_layer": True,
        "search.max_drop": 1.5,
        "search.max_drop_by": "multiplications",
        "check.tolerance": 0.3,
    }


def test_its_speech_has_its_sources_apart(tmp_path: Path) -> None:
    assert loaded(version_1(), tmp_path).data["calibration"] == SpeechIdentity(
        sources=("a.jsonl", "b"), fingerprint="c" * 64, details={"utterances": 5, "seconds": 9.5}
    )


def test_it_is_saved_as_a_plan_of_today_and_says_the_same(tmp_path: Path) -> None:
    first = loaded(version_1(), tmp_path)
    first.save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text())["schema_version"] == SCHEMA_VERSION == 2
    assert Plan.load(tmp_path / "again.json") == first


@pytest.mark.parametrize(
    ("where", "change", "named"),
    [
        (("layers", 0, "weight"), {"granularity": "row"}, r"layer conv1, weight\.per"),
        (("layers", 0), {"weight": 8}, r"layer conv1, weight"),
        (("data", "dev"), {"name": 3}, r"data, dev"),
        (("data",), {"dev": "speech"}, r"data, dev"),
        (("settings",), {"weight_method": "best"}, r"settings, weights\.range"),
        (("settings",), {"colour": "red"}, r"settings, colour"),
        ((), {"layers": [3]}, r"(?:layers\.0|layers, 0)"),
        ((), {"layers": None}, "layers"),
        ((), {"data": []}, "data"),
        ((), {"settings": 5}, "settings"),
    ],
)
def test_what_is_wrong_in_it_is_named(tmp_path: Path, where: tuple[Any, ...], change: Any, named: str) -> None:
    content = part = version_1()
    for step in where:
        part = part[step]
    part.update(change)
    with pytest.raises(PlanError, match=rf"plan\.json: {named}.* is wrong"):
        loaded(content, tmp_path)
