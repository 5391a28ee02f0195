"""Measure a model on labelled speech: a float checkpoint, int8 files, or a simulated plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stablequant.data import manifest
from stablequant.data.speech import Speech
from stablequant.data.splits import fingerprint, make_splits
from stablequant.data.utterance import SPLITS, Utterance
from stablequant.errors import SettingsError
from stablequant.families.frontend import Frontend
from stablequant.jobs.open import Opened, open_model
from stablequant.jobs.speech import decode
from stablequant.network.backend import Backend
from stablequant.progress import Progress, silent
from stablequant.runtime.processor import machine
from stablequant.runtime.transcribe import transcribe
from stablequant.settings import Settings
from stablequant.tasks.task import Evaluation, Task, task_of
from stablequant.tasks.task import evaluate as evaluate_answers


def evaluate(
    model: str,
    sources: Sequence[str],
    split: str = "test",
    given: Mapping[str, Any] | None = None,
    *,
    simulate: bool = False,
    checkpoint: str = "",
    runtime: str = "",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Score ``model`` on one split of ``sources``.

    Args:
        model: Folder or hub id.
        sources: Manifests, folders or ``hf:`` data sets of labelled speech.
        split: "calibration", "dev", "test", or "all": every utterance.
        given: Settings that the user gave. All others are those of the model's plan, if it has one: the same division into
            splits, and the same idea of what the same word is.
        simulate: Run the plan in simulation instead of the int8 files.
        checkpoint: Where the float checkpoint of the plan is now; default: where it was.
        runtime: That runs the int8 files; default: by the files, what is installed, and the processor.
        progress: Told what is running.

    Raises:
        SettingsError: There is no such split, or the settings would divide the speech otherwise than the plan's search did.
    """
    if split not in (*SPLITS, "all"):
        what = f"--split {split}"
        raise SettingsError(what, expected=f"one of {', '.join(SPLITS)}, all")
    plain = open_model(model, simulate=simulate, checkpoint=checkpoint, runtime=runtime)
    opened = plain.given(given or {})
    settings = opened.settings
    _same_division(opened, settings, split)
    utterances = manifest.load(sources)
    task = task_of(settings.data).suited(utterances)
    settings = settings.updated(**task.decided())
    chosen = _chosen(opened, utterances, split, settings.data.seed)
    speech = decode(opened.frontend, task, {split: chosen}, settings)[split]
    result = evaluate_on(opened.frontend, opened.backend, task, speech, progress)
    return {
        "model": model,
        "runtime": opened.runtime,
        "data": list(sources),
        "split": split,
        "normalizer": settings.data.normalizer,
        **result.figures,
        "cut_off": sum(a.truncated for a in result.answers),
        "skipped": dict(speech.skipped),
        "notes": [list(note) for note in speech.notes],
        "machine": machine(),
        "transcripts": [
            {"id": u.id, "reference": u.text, "hypothesis": a.text, "cut_off": a.truncated}
            for u, a in zip(result.examples, result.answers, strict=True)
        ],
    }


def evaluate_on(
    frontend: Frontend,
    backend: Backend,
    task: Task,
    speech: Speech,
    progress: Progress = silent,
    title: str = "transcribing",
) -> Evaluation:
    """Answers of what ``backend`` runs to ``speech``, and their score."""
    return evaluate_answers(task, speech.utterances, transcribe(frontend, backend, speech, progress, title))


def _chosen(opened: Opened, utterances: Sequence[Utterance], split: str, seed: int) -> Sequence[Utterance]:
    """The utterances of a split; where a source names no other split, as a test set alone does, all of them.

    Unless it is the very speech that the plan was made with: then a part of it was searched, whatever it is called.
    """
    if split == "all":
        return utterances
    splits = make_splits(utterances, seed)
    searched = opened.plan.data.get("dev") if opened.plan else None
    alone = all(u.split == split for u in utterances)
    if alone and (searched is None or searched.fingerprint != fingerprint(splits.dev)):
        return utterances
    return tuple(getattr(splits, split))


def _same_division(opened: Opened, settings: Settings, split: str) -> None:
    """Raise SettingsError if a split would hold speech that the plan's search has seen as another."""
    seed = settings.data.seed
    if opened.plan is None or split == "all" or seed == opened.plan.settings.data.seed:
        return
    what = f"--set seed={seed}, but the plan was searched with seed {opened.plan.settings.data.seed}"
    fix = "leave the seed out, or use --split all on speech that the search never saw"
    raise SettingsError(what, expected="the division that keeps the search's speech out of the test", fix=fix)
