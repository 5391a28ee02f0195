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
from stablequant.jobs.quantize import RIVALS, Clock, Names, read_speech, require_kernels, run
from stablequant.measure.memory import peak
from stablequant.processes import Process
from stablequant.quantize.simulate import Simulator
from stablequant.search.journal import Journal
from stablequant.search.pools import LocalPool
from stablequant.search.remaining_work import shares
from stablequant.search.stage1 import Sensitivity
from stablequant.search.trials import Candidate, Progress, Trials
from stablequant.settings import Settings

#: Of the progress.
TITLE = "dry run on the longest batches"

#: A run of hours leaves its heap less tidy than one of seconds.
UNTIDY = 1.1


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        layers: Trials of stage 1.
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
    model_name: str,
    data: Sequence[str],
    settings: Settings,
    *,
    workers: int = 1,
    progress: Progress = lambda title, done, total: None,
) -> Estimate:
    """Try the job on the longest batches and scale up.

    Raises:
        ResourceError: The small job failed, as the whole one would: memory ran out.
        StablequantError: As of `jobs.quantize.quantize`.
    """
    require_kernels(settings)
    progress(TITLE, 0, 1)
    # The folder is made here and removed on either side: each may be killed.
    with tempfile.TemporaryDirectory(prefix="stablequant-", ignore_cleanup_errors=True) as folder, Process() as process:
        process.start(_in_the_process, model_name, tuple(data), settings, workers, folder)
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
    model_name: str, data: Sequence[str], settings: Settings, workers: int, folder: str
) -> Iterator[Estimate]:
    try:
        found = _scaled(load(model_name), data, settings, workers, Path(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    yield found


def _scaled(model: SpeechModel, data: Sequence[str], settings: Settings, workers: int, folder: Path) -> Estimate:
    """What was measured on the longest batches, taken to the whole."""
    speech = read_speech(model.frontend, data, settings)
    found = _measure(model, {name: _longest(s) for name, s in speech.items()}, settings, folder)

    ops = model.ops(matmuls=settings.attention_matmuls)
    values = len(settings.candidates())
    dev, shard = speech["dev"], _longest(speech["dev"])
    scale = dev.seconds / shard.seconds
    # Float; what all trials share, up to the last layer; each layer and what follows it.
    stage_1 = 2 - min(found["shares"].values()) + sum(found["shares"].values())
    trial, reference = found["trial_seconds"] * scale, found["float_seconds"] * scale
    in_test = speech["test"].seconds / _longest(speech["test"]).seconds
    in_calibration = speech["calibration"].seconds / _longest(speech["calibration"]).seconds
    trials = reference + (stage_1 - 1 + values) * trial + in_test * found["test_seconds"]
    rest = found["verify_seconds"] * in_test + found["observe_seconds"] * in_calibration + found["fixed_seconds"]
    rows = (1 + len(ops) + values) * len(dev.shards) + (2 + len(RIVALS)) * len(speech["test"].shards)
    return Estimate(
        layers=len(ops),
        values=values,
        naive=1 + len(ops) + values,
        evaluations=round(stage_1 + values, 1),
        seconds=round(trials / workers + rest, 1),
        peak_bytes=round(UNTIDY * found["peak_bytes"]),
        worker_bytes=found["worker_bytes"],
        disk_bytes=found["file_bytes"] + round(rows * found["row_bytes"]),
    )


def _longest(speech: Speech) -> Speech:
    """The batch that takes most memory, as speech of its own."""
    shard = max(speech.shards, key=lambda s: len(s) * max(len(speech.waveforms[i]) for i in s))
    return replace(
        speech,
        utterances=tuple(speech.utterances[i] for i in shard),
        waveforms=tuple(speech.waveforms[i] for i in shard),
        shards=(tuple(range(len(shard))),),
    )


def _measure(model: SpeechModel, speech: Mapping[str, Speech], settings: Settings, folder: Path) -> dict[str, Any]:
    # One p, every layer flagged: the most work and memory that a trial can take.
    one = settings.model_copy(update={"p_max": 0.0, "search": "exact", "max_drop": None, "tolerance": 100.0})
    flagged = [Sensitivity(op.name, 0.0, 0.0, True) for op in model.ops(matmuls=settings.attention_matmuls)]
    share = shares(model, speech["dev"], settings)
    with Journal(None) as journal:
        trials = Trials(Simulator.under(model, settings), speech["dev"], settings, journal)
        trials.run([Candidate("float", {})], "float")
        float_seconds = trials.cost.seconds
    trial_peak = peak()
    clock = Clock()
    evidence = run(
        model, speech, folder, one, Names("", "", ""), clock, flagged, LocalPool(), wait=False, progress=_silent
    )
    journal_bytes = (folder / "trials.sqlite").stat().st_size
    seconds = clock.seconds
    return {
        "shares": share,
        "float_seconds": float_seconds,
        "trial_seconds": max(0.0, evidence.search.spent.seconds - float_seconds),
        "test_seconds": seconds["test"],
        "verify_seconds": seconds["verify"],
        "observe_seconds": seconds["observe"],
        "fixed_seconds": seconds["export"] + seconds["speed"],
        "peak_bytes": peak(),
        "worker_bytes": trial_peak,
        "file_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) - journal_bytes,
        "row_bytes": len(json.dumps([t.tokens for t in evidence.search.reference.transcripts])) * 1.5,
    }


def _silent(title: str, done: int, total: int) -> None:
    pass
