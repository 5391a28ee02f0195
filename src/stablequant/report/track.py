"""Finished runs in an experiment tracker: settings, every number of the summary, and the run's files for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stablequant.errors import MissingRuntimeError, SettingsError
from stablequant.export.run_folder import require_whole
from stablequant.quantize.plan import Plan
from stablequant.report.results import whole_summary

#: What MLflow is asked for by, as in mlflow:http://host:5000.
MLFLOW = "mlflow"
EXPERIMENT = "stablequant"
FILES = ("report.html", "summary.json", "plan.json", "README.md", "utterances.jsonl")
#: Numbers of the summary that say how it was written, and not what was found.
NO_METRICS = ("schema_version", "machine")


def track(folder: Path, to: str) -> dict[str, Any]:
    """Log a run to the tracker that ``to`` names: "mlflow", or "mlflow:" and a tracking URI.

    Args:
        folder: That quantize wrote.
        to: Where; without a URI MLflow's own default, as MLFLOW_TRACKING_URI says.

    Returns:
        ``folder``, ``to``, ``experiment`` and ``run`` (as MLflow calls them), ``parameters``, ``metrics``, ``files``.

    Raises:
        SettingsError: There is no such tracker, or it refuses.
        MissingRuntimeError: It is not installed.
        StablequantError: ``folder`` is no finished run.
    """
    kind, _, uri = to.partition(":")
    if kind != MLFLOW:
        what = f"--to {to[:200]}"
        raise SettingsError(what, expected="mlflow, or mlflow:URI, as mlflow:http://127.0.0.1:5000")
    require_whole(folder, [])
    plan, summary = Plan.load(folder / "plan.json"), whole_summary(folder)
    found: dict[str, dict[str, Any]] = {"parameters": parameters(plan, summary), "metrics": dict(metrics(summary))}
    files = [folder / name for name in FILES if (folder / name).is_file()]
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        what = "MLflow is not installed"
        raise MissingRuntimeError(what, fix="pip install 'stablequant[mlflow]'") from error
    try:
        run = _log(MlflowClient(tracking_uri=uri or None), plan.model.name, found, files)
    except MlflowException as error:
        what = f"MLflow refuses {uri or 'its default store'} ({error})"
        raise SettingsError(what, expected="a tracking URI that MLflow can write to") from error
    return {
        "folder": str(folder),
        "to": to,
        "experiment": EXPERIMENT,
        "run": run,
        **found,
        "files": [p.name for p in files],
    }


def parameters(plan: Plan, summary: Mapping[str, Any]) -> dict[str, str]:
    """What the run was made from and with, as text."""
    return {
        "model": plan.model.name,
        "model_fingerprint": plan.model.fingerprint,
        **{f"data_{name}": identity.fingerprint for name, identity in plan.data.items()},
        **{name: str(value) for name, value in plan.settings.flat().items()},
        **{f"version_{name}": version for name, version in plan.versions.items()},
        "command": summary["command"],
    }


def metrics(found: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a summary by its place, as int8_file/rate; lists are left out, and what is no finding."""
    for name, value in found.items():
        if not before and name in NO_METRICS:
            continue
        if isinstance(value, Mapping):
            yield from metrics(value, f"{before}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{before}{name}", float(value)


def _log(client: Any, name: str, found: Mapping[str, Mapping[str, Any]], files: list[Path]) -> str:
    """A run of the experiment, ended; returns its id."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    where = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
    run = str(client.create_run(where, run_name=name).info.run_id)
    for key, value in found["parameters"].items():
        client.log_param(run, key, value)
    for key, value in found["metrics"].items():
        client.log_metric(run, key, value)
    for path in files:
        client.log_artifact(run, str(path))
    client.set_terminated(run)
    return run
