"""What a name stands for when a model is opened: a checkpoint, exported files, a plan in simulation or in int8 by PyTorch."""

from __future__ import annotations

import pytest
import support

from stablequant.errors import SettingsError
from stablequant.jobs.evidence import Evidence
from stablequant.jobs.open import open_model, open_plan
from stablequant.settings import Settings


def test_a_checkpoint_runs_in_float_with_the_default_settings() -> None:
    opened = open_model(support.GRAFT)
    assert (opened.runtime, opened.plan, opened.settings) == ("torch, float32", None, Settings())


@pytest.mark.parametrize(
    ("options", "runtime"),
    [
        ({"runtime": "onnxruntime"}, "onnxruntime"),
        ({"simulate": True}, "torch, simulated int8"),
        ({"runtime": "torch"}, "torch"),
    ],
)
def test_a_folder_runs_as_it_is_told_with_the_settings_of_its_plan(
    evidence: Evidence, options: dict, runtime: str
) -> None:
    opened = open_model(evidence.job.out, **options)
    assert opened.runtime.startswith(runtime)
    assert opened.runtime.endswith("int8")
    assert opened.plan == evidence.plan
    assert opened.settings == evidence.plan.settings != Settings()
    (answer,) = opened.frontend.recognize(opened.backend, [support.waveform("is-set-to")])
    assert answer.text


def test_a_plan_is_opened_with_the_checkpoint_that_it_was_made_from(evidence: Evidence) -> None:
    plan, model = open_plan(evidence.job.out)
    assert plan == evidence.plan
    assert model.fingerprint == evidence.model.fingerprint


@pytest.mark.parametrize(
    ("folder", "options", "message"),
    [
        ("float", {"runtime": "onnxruntime"}, "--runtime onnxruntime, but .* is run by torch"),
        ("int8", {"runtime": "onnxruntime", "simulate": True}, "--runtime onnxruntime, but .* is run by torch"),
        ("float", {"simulate": True}, "has no plan.json to simulate"),
    ],
)
def test_what_a_model_cannot_be_run_as_is_told(evidence: Evidence, folder: str, options: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message + ".*Expected a folder written by stablequant quantize"):
        open_model(support.GRAFT if folder == "float" else evidence.job.out, **options)
