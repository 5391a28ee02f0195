"""Use a model on speech: measure it, transcribe with it, or export it for another runtime.

It may be a float checkpoint, exported files, or a plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.data import manifest
from stablequant.data.splits import make_splits
from stablequant.data.utterance import SPLITS, Utterance
from stablequant.errors import DataError, ModelError, SettingsError
from stablequant.export import package, parity
from stablequant.export.targets import recipe_for
from stablequant.families.checkpoint import load, load_frontend
from stablequant.families.frontend import Frontend
from stablequant.families.model import SpeechModel
from stablequant.files import disk_errors
from stablequant.heads.greedy import Backend
from stablequant.jobs.quantize import decode
from stablequant.quantize.plan import Plan
from stablequant.quantize.simulate import Simulator
from stablequant.report.summary import rates
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.processor import machine
from stablequant.runtime.registry import RUNTIMES, is_exported, open_exported
from stablequant.runtime.transcribe import transcribe as transcribe_speech
from stablequant.search.trials import Progress
from stablequant.settings import Settings
from stablequant.tasks.score import score

#: Endings that a folder is searched for.
AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff")
#: Recordings that an export is checked on.
CHECKED = 8


def open_model(
    model: str, *, simulate: bool = False, checkpoint: str = "", runtime: str = "", threads: int | None = None
) -> tuple[Frontend, Backend, str]:
    """Front end and backend of ``model``, and what runs it in words.

    A folder that quantize wrote runs its int8 files, in ``runtime`` or the one that `backends.choose` picks. Its plan is
    run on the float checkpoint it was made from with ``simulate``, and in int8 by PyTorch as ``runtime`` "torch".
    Anything else is loaded as a float checkpoint.
    """
    folder = Path(model)
    if runtime and (simulate or not is_exported(folder)):
        what = f"--runtime {runtime}, but {model} is run by torch"
        raise SettingsError(what, expected="a folder written by stablequant quantize, without --simulate")
    if not is_exported(folder):
        if simulate:
            what = f"{model} has no plan.json to simulate"
            raise SettingsError(what, expected="a folder written by stablequant quantize")
        loaded = load(model)
        return loaded.frontend, Simulator(loaded).backend({}), "torch, float32"
    if not simulate and runtime != "torch":
        frontend = load_frontend(folder)
        backend = open_exported(folder, frontend.shape, runtime=runtime, threads=threads)
        return frontend, backend, f"{backend.name}, int8"
    plan, loaded = open_plan(folder, checkpoint)
    if runtime == "torch":
        from stablequant.runtime.torch_int8 import TorchInt8Backend

        int8 = TorchInt8Backend(loaded, plan.scheme(), plan.settings)
        return loaded.frontend, int8, f"{int8.name}, int8"
    return loaded.frontend, Simulator.under(loaded, plan.settings).backend(plan.scheme()), "torch, simulated int8"


def open_plan(folder: Path, checkpoint: str = "") -> tuple[Plan, SpeechModel]:
    """The plan of ``folder``, and the float checkpoint that it was made from, which may be elsewhere by now."""
    plan = Plan.load(folder / "plan.json")
    try:
        loaded = load(checkpoint or plan.model.name)
    except ModelError as error:
        if checkpoint:
            raise
        what = f"{folder / 'plan.json'} was made from {plan.model.name}: {error.what}"
        fix = "say where the float checkpoint is now with --checkpoint"
        raise ModelError(what, expected=error.expected, fix=fix) from error
    plan.check(loaded.fingerprint, (op.name for op in loaded.ops(matmuls=True)))
    return plan, loaded


def export(folder: Path, target: str, *, checkpoint: str = "", data: Sequence[str] = ()) -> dict[str, Any]:
    """Write the plan of ``folder`` as files for ``target`` into it, once they have passed their check.

    Args:
        folder: What quantize wrote.
        target: "onnxruntime", "openvino" or "tensorrt".
        checkpoint: Where the float checkpoint is now; default: where the plan was made from it.
        data: Speech to check the files on; default: what the plan was made with.

    Raises:
        ExportError: The plan has something that the target does not take.
        MissingRuntimeError: The target's runtime is not installed, so the files cannot be checked.
        VerificationError: The files do not compute what the plan says.
    """
    recipe = recipe_for(target)
    plan, model = open_plan(folder, checkpoint)
    recipe.check(plan)
    sounds = speech_of(plan, model.frontend, folder, data, CHECKED)
    aside = folder / "unverified"
    files = package.write_graphs(model, plan, aside, recipe)
    runtime = RUNTIMES.get(target)
    backend = None if runtime is None else runtime(files)
    parities = parity.compare(
        model.frontend,
        Simulator.under(model, plan.settings).backend(plan.scheme()),
        OnnxRuntimeBackend(files, optimise=False),
        None if backend is None else (backend.name, backend),
        sounds,
    )
    parity.require(parities, str(aside))
    size = sum(path.stat().st_size for path in files.values())
    with disk_errors(folder):
        written = [path.replace(folder / path.name) for path in files.values()]
        aside.rmdir()
    return {
        "model": str(folder),
        "target": target,
        "files": [str(path) for path in written],
        "bytes": size,
        "bytes_ratio": round(size / model.float_bytes, 4),
        "runtime": None if backend is None else backend.name,
        "checks": [{**asdict(p), "passed": p.passed} for p in parities],
    }


def speech_of(
    plan: Plan, frontend: Frontend, folder: Path, data: Sequence[str], count: int
) -> list[NDArray[np.float32]]:
    """At most ``count`` test recordings of ``data``, or else of what ``plan`` was made with, of every length."""
    try:
        test = make_splits(manifest.load(data or plan.data["test"].name.split(", ")), plan.settings.seed).test
    except DataError as error:
        if data:
            raise
        what = f"{folder / 'plan.json'} was made with speech that is not there: {error.what}"
        raise DataError(what, expected=error.expected, fix="give other speech with --data") from error
    few = sorted(test, key=lambda u: u.id)[:: max(1, len(test) // count)][:count]
    return decode(frontend, {"test": few}, plan.settings)["test"].sample(count)


def evaluate(
    model: str,
    data: Sequence[str],
    split: str,
    settings: Settings,
    *,
    simulate: bool = False,
    checkpoint: str = "",
    runtime: str = "",
    progress: Progress = lambda title, done, total: None,
) -> dict[str, Any]:
    """Error rates of ``model`` on one split of ``data`` ("all": every utterance)."""
    if split not in (*SPLITS, "all"):
        what = f"--split {split}"
        raise SettingsError(what, expected=f"one of {', '.join(SPLITS)}, all")
    frontend, backend, ran = open_model(model, simulate=simulate, checkpoint=checkpoint, runtime=runtime)
    utterances = manifest.load(data)
    chosen = utterances if split == "all" else getattr(make_splits(utterances, settings.seed), split)
    speech = decode(frontend, {split: chosen}, settings)[split]
    result = score(speech, transcribe_speech(frontend, backend, speech, progress), settings.normalizer)
    return {
        "model": model,
        "runtime": ran,
        "data": list(data),
        "split": split,
        "normalizer": settings.normalizer,
        **rates(result),
        "skipped": dict(speech.skipped),
        "machine": machine(),
        "transcripts": [
            {"id": i, "reference": r, "hypothesis": h}
            for i, r, h in zip(result.ids, result.references, result.hypotheses, strict=True)
        ],
    }


def transcribe(
    model: str,
    files: Sequence[Path],
    settings: Settings | None = None,
    *,
    runtime: str = "",
    checkpoint: str = "",
    threads: int | None = None,
) -> dict[str, Any]:
    """Text of every recording in ``files`` (folders are searched), batched by length."""
    settings = settings or Settings()
    found: list[Path] = []
    for path in files:
        found += sorted(p for p in path.rglob("*") if p.suffix.lower() in AUDIO) if path.is_dir() else [path]
    if not found:
        what = f"no recordings in {', '.join(map(str, files))}"
        raise DataError(what, expected=f"files ending in {', '.join(AUDIO)}")
    frontend, backend, ran = open_model(model, runtime=runtime, checkpoint=checkpoint, threads=threads)
    # Nothing is known of what is said; a dash stands for any text.
    speech = decode(frontend, {"files": [Utterance(str(path), "-", path) for path in found]}, settings)["files"]
    transcripts = transcribe_speech(frontend, backend, speech)
    rows = [
        {"file": u.id, "text": t.text, "cut_off": t.truncated}
        for u, t in zip(speech.utterances, transcripts, strict=True)
    ]
    return {"model": model, "runtime": ran, "transcripts": rows, "skipped": dict(speech.skipped)}
