"""A finished run in MLflow: what is logged is what the run found."""

from __future__ import annotations

import json
import sys

import pytest
from mlflow.tracking import MlflowClient

from stablequant.quantize.plan import Plan


@pytest.fixture(autouse=True)
def _local(monkeypatch):
    """MLflow 3.7 and newer write to a folder only when asked so."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def test_settings_numbers_and_files_are_the_runs(cli, finished, tmp_path):
    uri = (tmp_path / "mlruns").as_uri()
    ran = cli("track", finished, "--to", f"mlflow:{uri}", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    client = MlflowClient(tracking_uri=uri)
    run = client.get_run(found["run"])
    summary = json.loads((finished / "summary.json").read_text())
    assert run.info.status == "FINISHED"
    assert run.data.metrics["int8_file/rate"] == summary["int8_file"]["rate"]
    assert run.data.metrics["methods/mse/delta"] == summary["methods"]["mse"]["delta"]
    assert run.data.metrics["int8_file/bytes"] == summary["int8_file"]["bytes"]
    assert run.data.metrics == found["metrics"]
    plan = Plan.load(finished / "plan.json")
    assert run.data.params["search.p_step"] == "0.25"
    assert run.data.params["model_fingerprint"] == plan.model.fingerprint
    logged = {file.path: file.file_size for file in client.list_artifacts(found["run"])}
    assert logged == {name: (finished / name).stat().st_size for name in found["files"]}
    assert "report.html" in logged


def test_other_trackers_and_refused_stores_are_told(cli, finished, tmp_path, monkeypatch):
    ran = cli("track", finished, "--to", "wandb")
    assert (ran.code, "Expected mlflow, or mlflow:URI" in ran.err) == (2, True)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "false")
    ran = cli("track", finished, "--to", f"mlflow:{(tmp_path / 'mlruns').as_uri()}")
    assert (ran.code, "MLflow refuses file://" in ran.err) == (2, True)


def test_without_mlflow_the_fix_is_named(cli, finished, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    ran = cli("track", finished, "--to", "mlflow")
    assert (ran.code, "Fix: pip install 'stablequant[mlflow]'." in ran.err) == (2, True)
