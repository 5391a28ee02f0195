"""Fine-tune a checkpoint for a scheme: observe, train, write the checkpoint, and say by how much it diverges less.

The output folder holds the state of an unfinished run, or a checkpoint and `REPORT`, never both for long: what is handed over
is built aside, config.json is put in place last, and the state goes after it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stablequant.data.speech import Speech
from stablequant.errors import ModelError, SettingsError
from stablequant.export.package import copy_processor
from stablequant.export.run_folder import ASIDE, LOCK, alone
from stablequant.families.checkpoint import load, parameters
from stablequant.families.model import SpeechModel
from stablequant.families.parameters import say_float32
from stablequant.files import digest, disk_errors, write_text
from stablequant.jobs.speech import divide, read, searched
from stablequant.network.backend import Backend
from stablequant.observe.cached import observe_once
from stablequant.progress import Progress, silent
from stablequant.quantize.by_frame import base
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.processor import machine
from stablequant.search.objective import Divergence
from stablequant.settings import Settings
from stablequant.tasks.fidelity import figures
from stablequant.training.losses import Distillation, Loss, loss_of
from stablequant.training.student import Student, to_nearest
from stablequant.training.train import Schedule, mean_loss, train

#: What a run keeps to go on from,
STATE, HISTOGRAMS = "training.safetensors", "activations.npz"
#: and what it says in the end.
REPORT = "finetune.json"
#: Settings that differ from the defaults: a scale a frame where it can be had, and a part of the dev speech is enough.
SETTINGS: Mapping[str, Any] = {"scales": "frame", "strategy": "none", "objective": "divergence"}


@dataclass(frozen=True)
class Tuning:
    """What a model is fine-tuned on, and how.

    Attributes:
        training: Speech; its text is used with ``labels`` alone.
        dev: Held-out speech, on which the model is compared with what it was.
        settings: Widths and scales.
        schedule: Steps and learning rate.
        labels: Whether to learn from text, and not from the float model.
        scheme: What to train for; ``None``: as the settings have it, without a search.
        name: What the user called the model.
        sources: Where the speech came from.
    """

    training: Speech
    dev: Speech
    settings: Settings
    schedule: Schedule = Schedule()
    labels: bool = False
    scheme: Scheme | None = None
    name: str = ""
    sources: tuple[str, ...] = ()


def finetune(
    model: str,
    sources: Sequence[str],
    out: Path,
    settings: Settings,
    schedule: Schedule,
    *,
    labels: bool = False,
    wait: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Fine-tune the checkpoint called ``model`` and write another one.

    Args:
        model: Folder or hub id of the checkpoint.
        sources: Manifests, folders or ``hf:`` data sets of speech. Their calibration part is trained on.
        out: Folder to write; a run that was stopped there goes on.
        settings: Widths and scales, and how speech is read.
        schedule: How long and how fast.
        labels: Whether to learn from text, and not from the float model.
        wait: Whether to wait for another run that holds ``out``, instead of refusing.
        progress: Told what is running.

    Returns:
        What `REPORT` holds, see docs/finetune.md.

    Raises:
        StablequantError: Of any kind; the state stays in ``out``.
    """
    require_free(out, Path(model))
    require_unfolded(settings)
    data = settings.data
    loaded = load(model, data.language).asked(data.language, translate=data.translate, window=data.window)
    division = divide(sources, settings)
    speech = read(loaded.frontend, division)
    chosen = division.settings
    tuning = Tuning(
        speech["calibration"], searched(speech["dev"], chosen), chosen, schedule, labels, None, model, tuple(sources)
    )
    return tune(loaded, tuning, out, wait=wait, progress=progress)


def tune(
    model: SpeechModel, tuning: Tuning, out: Path, *, wait: bool = False, progress: Progress = silent
) -> dict[str, Any]:
    """`finetune` with model and speech at hand."""
    require_free(out, model.path)
    require_unfolded(tuning.settings)
    if model.language is not None:
        what = f"{model.path} with the adapters of {model.language!r}, which lie in a file of their own"
        raise ModelError(what, expected="a checkpoint whose weights are all its own", fix="leave the language out")
    with alone(out, wait=wait):
        require_free(out, model.path)
        report = _tuned(model, tuning, out, progress)
    with disk_errors(out):
        (out / LOCK).unlink(missing_ok=True)
    return report


def scheme_for(
    model: SpeechModel, speech: Speech, settings: Settings, kept: Path, progress: Progress = silent
) -> Scheme:
    """Every layer as the settings have it, without a search; histograms of ``speech`` are kept in a file."""
    histograms = observe_once(model, speech, settings.activations.attention_matmuls, kept, progress)
    return base(model, histograms, settings)


def require_free(out: Path, checkpoint: Path) -> None:
    """Raise SettingsError unless fine-tuning may write to ``out``: it is new, empty, or of a run that was stopped."""
    if out.exists() and out.resolve() == checkpoint.resolve():
        what = f"--out {out} is the checkpoint's own folder"
        raise SettingsError(what, expected="a folder for the checkpoint that is written", fix="choose another --out")
    if out.exists() and not out.is_dir():
        what = f"--out {out} is a file"
        raise SettingsError(what, expected="a folder", fix="choose another --out")
    if out.is_dir() and {path.name for path in out.iterdir()} - {LOCK, HISTOGRAMS} and not (out / STATE).is_file():
        what = f"--out {out} has files that no stopped fine-tuning left there"
        raise SettingsError(what, expected="a new or empty folder", fix="choose another --out")


def require_unfolded(settings: Settings) -> None:
    """Raise SettingsError if channels are to be scaled: what is trained and written are the parameters as they are."""
    if settings.weights.fold != "none":
        what = f"fold={settings.weights.fold} for fine-tuning"
        raise SettingsError(what, expected="fold=none: a checkpoint's own parameters are trained", fix="leave fold out")


def _tuned(model: SpeechModel, tuning: Tuning, out: Path, progress: Progress) -> dict[str, Any]:
    scheme = tuning.scheme
    if scheme is None:
        scheme = scheme_for(model, tuning.training, tuning.settings, out / HISTOGRAMS, progress)
    scheme = to_nearest(scheme)
    own = parameters(model.path)
    student, loss = Student(model.frontend, own, scheme), loss_of(model, labels=tuning.labels)
    judge = Judge(model, tuning.dev, loss)
    before = judge.judged(model, scheme)
    trained = train(
        student, loss, tuning.training, tuning.schedule, out / STATE, _identity(model, tuning, scheme), progress
    )
    aside = out / ASIDE
    with disk_errors(aside):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
    copy_processor(model.path, aside)
    say_float32(aside / "config.json")
    own.write(student.settled(), aside)
    tuned = load(aside)
    tenth = max(1, len(trained.losses) // 10)
    report = {
        "model": tuning.name or str(model.path),
        "fingerprint": model.fingerprint,
        "checkpoint": str(out),
        "checkpoint_fingerprint": tuned.fingerprint,
        "loss": loss.name,
        **asdict(tuning.schedule),
        "data": list(tuning.sources),
        "utterances": len(tuning.training.utterances),
        "seconds": round(tuning.training.seconds, 1),
        "minutes": round(trained.seconds / 60, 2),
        "training_loss": {
            "first": _rounded(sum(trained.losses[:tenth]) / tenth),
            "last": _rounded(sum(trained.losses[-tenth:]) / tenth),
        },
        "dev": {
            "utterances": len(tuning.dev.utterances),
            "seconds": round(tuning.dev.seconds, 1),
            "before": before,
            "after": judge.judged(tuned, scheme),
            "float_after": judge.judged(tuned, {}),
        },
        "machine": machine(),
    }
    write_text(aside / REPORT, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    _publish(aside, out)
    return report


def _identity(model: SpeechModel, tuning: Tuning, scheme: Scheme) -> dict[str, Any]:
    """All that the weights of a run depend on."""
    return {
        "model": model.fingerprint,
        "processor": model.processor_fingerprint,
        "data": tuning.training.fingerprint,
        "batches": digest(tuning.training.batches),
        "scheme": digest({name: layer.identity() for name, layer in scheme.items()}),
        "schedule": asdict(tuning.schedule),
        "labels": tuning.labels,
    }


class Judge:
    """What the float model says of the dev speech, and how far others are from it."""

    def __init__(self, model: SpeechModel, speech: Speech, loss: Loss) -> None:
        """Run the float model once."""
        self._frontend, self._speech, self._loss, self._objective = model.frontend, speech, loss, Divergence()
        plain, head = Simulator(model).backend({}), model.frontend.head
        self._features = [self._frontend.features(speech.waveforms_of(batch)) for batch in speech.batches]
        self._prepared = [
            self._objective.prepare(head, plain, self._frontend.encode(plain, features), features.sizes)
            for features in self._features
        ]

    def judged(self, model: SpeechModel, scheme: Scheme, weights: WeightStore | None = None) -> dict[str, Any]:
        """Loss and divergence of ``model`` under ``scheme``; integer ``weights`` by default its own."""
        matmuls = any(layer.weight is None for layer in scheme.values())
        backend = Simulator(model, matmuls=matmuls, weights=weights).backend(scheme)
        readings: dict[int, Any] = {}
        for batch, features, prepared in zip(self._speech.batches, self._features, self._prepared, strict=True):
            readings.update(zip(batch, self._measured(backend, features, prepared), strict=True))
        score = self._objective.score(self._speech.utterances, [readings[i] for i in range(len(readings))])
        distilled = isinstance(self._loss, Distillation)  # its loss is the divergence itself
        loss = score.rate if distilled else mean_loss(self._frontend, backend, self._loss, self._speech)
        return {"loss": _rounded(loss), **figures(score)}

    def _measured(self, backend: Backend, features: Any, prepared: Any) -> list[Any]:
        outputs = self._frontend.encode(backend, features)
        return self._objective.measure(self._frontend.head, backend, outputs, features.sizes, prepared)


def _publish(aside: Path, out: Path) -> None:
    """Put what was built in place, what makes it a model last, and take away what a run goes on from."""
    with disk_errors(out):
        for path in sorted(aside.iterdir(), key=lambda p: p.name == "config.json"):
            path.replace(out / path.name)
        aside.rmdir()
        for name in (STATE, HISTOGRAMS):
            (out / name).unlink(missing_ok=True)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
