"""What a quantisation will take, found out by doing a small one: the whole job on the longest batch of each split.

It runs in a process of its own, which loads model and speech as the real run does and whose peak memory is the same: no
batch needs more than the longest, and model, export and check are the real ones. Stage 1 is left out; its trials are
the same operations as those of stage 2.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stablequant.data.speech import Speech
from stablequant.errors import ResourceError
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.jobs.evidence import BASELINES, Job
from stablequant.jobs.open import simulator
from stablequant.jobs.quantize import run
from stablequant.jobs.requirements import require_labels, require_possible
from stablequant.jobs.speech import divide, read, searched
from stablequant.measure.memory import peak
from stablequant.processes import Process
from stablequant.progress import Progress, silent
from stablequant.search.budget import require_room
from stablequant.search.objective import Answers
from stablequant.search.remaining_work import remaining_work
from stablequant.search.stage1 import Sensitivity
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings
from stablequant.tasks.task import Task

#: Strategies that try one layer, or one value of p, after the other.
STAGED = ("exact", "racing")
#: Of the progress.
TITLE = "dry run on the longest batches"

#: A run of hours leaves its heap less tidy than one of seconds.
UNTIDY = 1.1


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        layers: Trials of stage 1; 0 where there are no stages.
        values: Trials of stage 2, if any layer is flagged.
        naive: Evaluations of the dev speech without shortcuts.
        evaluations: The same with the exact shortcuts, if the first layer is flagged.
        seconds: Of the whole run on this machine, as busy as it is now, with the given workers; an exact search.
        peak_bytes: Most memory of the process.
        worker_bytes: Memory of each further worker.
        disk_bytes: Of the folder that is written.
    """

    layers: int
    values: int
    naive: int
    evaluations: float
    seconds: float
    peak_bytes: int
    worker_bytes: int
    disk_bytes: int


def estimate(
    model: str,
    sources: Sequence[str],
    settings: Settings,
    *,
    workers: int = 1,
    progress: Progress = silent,
) -> Estimate:
    """Try the job on the longest batches and scale up.

    Raises:
        ResourceError: The small job failed, as the whole one would: memory ran out.
        StablequantError: As of `jobs.quantize.quantize`.
    """
    require_possible(settings)
    progress(TITLE, 0, 1)
    # The folder is made here and removed on either side: each may be killed.
    with tempfile.TemporaryDirectory(prefix="stablequant-", ignore_cleanup_errors=True) as folder, Process() as process:
        process.start(_in_the_process, model, tuple(sources), settings, workers, folder)
        kind, content = process.receive()
    if kind == "died":
        what = f"the dry run died ({content})"
        raise ResourceError(what, fix="it may have run out of memory: use smaller batches")
    if kind == "error":
        raise content
    progress(TITLE, 1, 1)
    found: Estimate = content
    return found


def _in_the_process(
    model: str, sources: Sequence[str], settings: Settings, workers: int, folder: str
) -> Iterator[Estimate]:
    try:
        found = _scaled(model, sources, settings, workers, Path(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    yield found


def _scaled(model: str, sources: Sequence[str], settings: Settings, workers: int, folder: Path) -> Estimate:
    """What was measured on the longest batches, taken to the whole."""
    data = settings.data
    loaded = load(model, data.language).asked(data.language, translate=data.translate, window=data.window)
    require_room(loaded, settings)
    division = divide(sources, settings)
    require_labels(division.parts["dev"], settings)
    speech, task, settings = read(loaded.frontend, division), division.task, division.settings
    speech["dev"] = searched(speech["dev"], settings)
    found = _measure(loaded, task, {name: _longest(s) for name, s in speech.items()}, settings, folder)

    ops = loaded.ops(matmuls=settings.activations.attention_matmuls)
    values = len(settings.search.candidates())
    dev, batch = speech["dev"], _longest(speech["dev"])
    scale = dev.seconds / batch.seconds
    # Float; what all trials share, up to the last layer; each layer and what follows it.
    stage_1 = 2 - min(found["work"].values()) + sum(found["work"].values())
    trial, reference = found["trial_seconds"] * scale, found["float_seconds"] * scale
    in_test = speech["test"].seconds / _longest(speech["test"]).seconds
    in_calibration = speech["calibration"].seconds / _longest(speech["calibration"]).seconds
    staged = settings.search.strategy in STAGED
    if staged:
        evaluations, naive = stage_1 + values, 1 + len(ops) + values
        search = reference + (stage_1 - 1 + values) * trial
    else:
        evaluations, naive = found["evaluations"], found["naive"]
        search = found["search_seconds"] * scale
    trials = search + in_test * found["test_seconds"]
    rest = found["verify_seconds"] * in_test + found["observe_seconds"] * in_calibration + found["fixed_seconds"]
    rows = (1 + len(ops) + values) * len(dev.batches) + (2 + len(BASELINES)) * len(speech["test"].batches)
    return Estimate(
        layers=len(ops) if staged else 0,
        values=values if staged else 0,
        naive=naive,
        evaluations=round(evaluations, 1),
        seconds=round(trials / workers + rest, 1),
        peak_bytes=round(UNTIDY * found["peak_bytes"]),
        worker_bytes=found["worker_bytes"],
        disk_bytes=found["file_bytes"] + round(rows * found["row_bytes"]),
    )


def _longest(speech: Speech) -> Speech:
    """The batch that takes most memory, as speech of its own."""
    batch = max(speech.batches, key=lambda s: len(s) * max(len(speech.waveforms[i]) for i in s))
    return replace(
        speech,
        utterances=tuple(speech.utterances[i] for i in batch),
        waveforms=tuple(speech.waveforms[i] for i in batch),
        batches=(tuple(range(len(batch))),),
    )


def _measure(
    model: SpeechModel, task: Task, speech: Mapping[str, Speech], settings: Settings, folder: Path
) -> dict[str, Any]:
    # One p, every layer flagged: the most work and memory that a trial can take.
    staged = settings.search.strategy in STAGED
    one = settings.updated(tolerance=100.0)
    if staged:
        one = one.updated(p_max=0.0, strategy="exact", max_drop=None)
    layers = model.ops(matmuls=settings.activations.attention_matmuls)
    flagged = [Sensitivity(op.name, 0.0, 0.0, True) for op in layers]
    work = remaining_work(model, speech["dev"], settings)
    trials = Trials(simulator(model, settings), speech["dev"], settings, Answers())
    trials.run([Candidate("float", {})], "float")
    float_seconds = trials.cost.seconds
    trial_peak = peak()
    job = Job(model, speech, task, folder, one, known=flagged if staged else None, force=True)
    evidence = run(job)
    journal_bytes = (folder / "trials.sqlite").stat().st_size
    seconds = job.clock.seconds
    return {
        "work": work,
        "float_seconds": float_seconds,
        "trial_seconds": max(0.0, evidence.search.spent.seconds - float_seconds),
        "search_seconds": seconds["search"],
        "evaluations": evidence.search.spent.evaluations,
        "naive": evidence.search.spent.naive,
        "test_seconds": seconds["test"],
        "verify_seconds": seconds["verify"],
        "observe_seconds": seconds["observe"],
        "fixed_seconds": seconds["weights"] + seconds["export"] + seconds["speed"],
        "peak_bytes": peak(),
        "worker_bytes": trial_peak,
        "file_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) - journal_bytes,
        "row_bytes": len(json.dumps([a.tokens for a in evidence.test["float"].answers])) * 1.5,
    }
