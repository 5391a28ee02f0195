"""Use a model on speech: measure it, or transcribe with it, whether float checkpoint, exported files or a plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stablequant.config import Settings
from stablequant.data import manifest
from stablequant.data.splits import make_splits
from stablequant.data.utterance import SPLITS, Utterance
from stablequant.errors import DataError, ModelError, SettingsError
from stablequant.evaluate.score import score
from stablequant.models.decode import Backend
from stablequant.models.frontend import Frontend
from stablequant.models.load import load, load_frontend
from stablequant.pipeline import decode
from stablequant.quantize.plan import Plan
from stablequant.quantize.simulate import Simulator
from stablequant.report.summary import rates
from stablequant.runtime.backends import is_exported, open_exported
from stablequant.runtime.processor import machine
from stablequant.runtime.transcribe import transcribe as transcribe_speech
from stablequant.search.trials import Progress

#: Endings that a folder is searched for.
AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff")


def open_model(
    model: str, *, simulate: bool = False, checkpoint: str = "", threads: int | None = None
) -> tuple[Frontend, Backend, str]:
    """Front end and backend of ``model``, and what runs it in words.

    A folder that quantize wrote runs its int8 files, or with ``simulate`` its plan on the float checkpoint it was made
    from; anything else is loaded as a float checkpoint.
    """
    folder = Path(model)
    if not is_exported(folder):
        if simulate:
            what = f"{model} has no plan.json to simulate"
            raise SettingsError(what, expected="a folder written by stablequant quantize")
        loaded = load(model)
        return loaded.frontend, Simulator(loaded).backend({}), "torch, float32"
    if not simulate:
        frontend = load_frontend(folder)
        backend = open_exported(folder, frontend.shape, threads=threads)
        return frontend, backend, f"{backend.name}, int8"
    plan = Plan.load(folder / "plan.json")
    try:
        loaded = load(checkpoint or plan.model.name)
    except ModelError as error:
        if checkpoint:
            raise
        what = f"{folder / 'plan.json'} was made from {plan.model.name}: {error.what}"
        mend = "say where the float checkpoint is now with --checkpoint"
        raise ModelError(what, expected=error.expected, mend=mend) from error
    plan.check(loaded.fingerprint, (op.name for op in loaded.ops(matmuls=True)))
    return loaded.frontend, Simulator.under(loaded, plan.settings).backend(plan.scheme()), "torch, simulated int8"


def evaluate(
    model: str,
    data: Sequence[str],
    split: str,
    settings: Settings,
    *,
    simulate: bool = False,
    checkpoint: str = "",
    progress: Progress = lambda title, done, total: None,
) -> dict[str, Any]:
    """Error rates of ``model`` on one split of ``data`` ("all": every utterance)."""
    if split not in (*SPLITS, "all"):
        what = f"--split {split}"
        raise SettingsError(what, expected=f"one of {', '.join(SPLITS)}, all")
    frontend, backend, runtime = open_model(model, simulate=simulate, checkpoint=checkpoint)
    utterances = manifest.load(data)
    chosen = utterances if split == "all" else getattr(make_splits(utterances, settings.seed), split)
    speech = decode(frontend, {split: chosen}, settings)[split]
    result = score(speech, transcribe_speech(frontend, backend, speech, progress), settings.normalizer)
    return {
        "model": model,
        "runtime": runtime,
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
    model: str, files: Sequence[Path], settings: Settings | None = None, *, threads: int | None = None
) -> dict[str, Any]:
    """Text of every recording in ``files`` (folders are searched), batched by length."""
    settings = settings or Settings()
    found: list[Path] = []
    for path in files:
        found += sorted(p for p in path.rglob("*") if p.suffix.lower() in AUDIO) if path.is_dir() else [path]
    if not found:
        what = f"no recordings in {', '.join(map(str, files))}"
        raise DataError(what, expected=f"files ending in {', '.join(AUDIO)}")
    frontend, backend, runtime = open_model(model, threads=threads)
    # Nothing is known of what is said; a dash stands for any text.
    speech = decode(frontend, {"files": [Utterance(str(path), "-", path) for path in found]}, settings)["files"]
    transcripts = transcribe_speech(frontend, backend, speech)
    rows = [
        {"file": u.id, "text": t.text, "cut_off": t.truncated}
        for u, t in zip(speech.utterances, transcripts, strict=True)
    ]
    return {"model": model, "runtime": runtime, "transcripts": rows, "skipped": dict(speech.skipped)}
