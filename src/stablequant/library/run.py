"""All of it at once, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.data.audio import open_stream
from stablequant.data.pieces import cut
from stablequant.data.speech import Speech
from stablequant.data.utterance import unlabelled
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.heads.head import Answer, joined
from stablequant.jobs import export as export_job
from stablequant.jobs.evaluate import evaluate_on, float_of, said_by
from stablequant.jobs.evidence import Job
from stablequant.jobs.open import Opened, open_model
from stablequant.jobs.pieces import lengths
from stablequant.jobs.quantize import run
from stablequant.jobs.requirements import require_labels, require_possible
from stablequant.library.speech import SpeechSplits, read_speech
from stablequant.progress import Progress, silent
from stablequant.quantize.plan import Plan
from stablequant.recipes import recipe_for
from stablequant.report.results import read_summary
from stablequant.report.write import write_reports
from stablequant.runtime.transcribe import transcribe, transcribe_stream
from stablequant.search.pools import LocalPool
from stablequant.settings import Settings
from stablequant.tasks.task import Evaluation, task_of


@dataclass(frozen=True)
class Run:
    """A folder that `quantize` wrote.

    Attributes:
        folder: Where.
        summary: What it found, see docs/summary.md.
    """

    folder: Path
    summary: dict[str, Any]

    @property
    def plan(self) -> Plan:
        """How each layer is quantised, and why."""
        return Plan.load(self.folder / "plan.json")


def quantize(
    model: SpeechModel | str,
    speech: SpeechSplits | Sequence[str],
    out: str | Path,
    *,
    recipe: str | None = None,
    workers: int = 1,
    progress: Progress = silent,
    **settings: Any,
) -> Run:
    """All of it: observe, search, write int8 files, check them against the simulation, report.

    Args:
        model: From `load`, or its folder or hub id.
        speech: From `read_speech`, or sources for it.
        out: Folder to write; a run that was stopped there goes on.
        recipe: A bundle of settings, "default", "paper" or "fast" (docs/recipes.md); where none is named "paper" if settings of
            its stages are given, else "default".
        workers: Processes that share the trials.
        progress: Told what is running.
        settings: Any of docs/settings.md, which win over the recipe's; those that the speech was read with stay as they are.

    Raises:
        StablequantError: Of any kind; what was computed stays in ``out``.
    """
    language = Settings().updated(**settings).data.language
    loaded = load(model, language) if isinstance(model, str) else model
    known = speech.settings.model_dump(exclude_defaults=True) if isinstance(speech, SpeechSplits) else {}
    settings = {**recipe_for({**known, **settings}, recipe).settings, **settings}
    if not isinstance(speech, SpeechSplits):
        speech = read_speech(speech, loaded, **settings)
    chosen = speech.settings.updated(**settings)
    require_possible(chosen)
    require_labels(speech.dev.utterances, chosen)
    data = chosen.data
    loaded = loaded.asked(data.language, translate=data.translate, window=data.window)
    parts = {"calibration": speech.calibration, "dev": speech.dev, "test": speech.test}
    everything = [utterance for part in parts.values() for utterance in part.utterances]
    task = task_of(chosen.data).suited(everything)
    job = Job(
        loaded,
        parts,
        task,
        Path(out),
        chosen.updated(**task.decided()),
        name=str(loaded.path),
        sources=speech.sources,
        pool=LocalPool(workers),
        report=write_reports,
        progress=progress,
    )
    run(job)
    return Run(job.out, read_summary(job.out))


def export(run: Run | str | Path, target: str) -> list[Path]:
    """Write a run's plan as files for another runtime, checked against the simulation; returns the files.

    Raises:
        ExportError: The plan has something that the target does not take.
        VerificationError: The files do not compute what the plan says.
    """
    found = export_job.export(run.folder if isinstance(run, Run) else Path(run), target)
    return [Path(file) for file in found["files"]]


@dataclass(frozen=True)
class Model:
    """A model that is ready to run; see `open`.

    Attributes:
        opened: Its parts.
        folder: Where it is, or the checkpoint's hub id.
    """

    opened: Opened
    folder: Path | str

    @property
    def runtime(self) -> str:
        """What runs it, in words."""
        return self.opened.runtime

    def transcribe(self, audio: str | Path | NDArray[np.floating]) -> Answer:
        """Text of one recording of any length: a file, or mono samples ``[T]`` at the model's rate, in [-1, 1].

        Raises:
            AudioError: The recording cannot be used; says why.
        """
        frontend = self.opened.frontend
        if isinstance(audio, np.ndarray):
            blocks: Iterable[NDArray[np.float32]] = [np.asarray(audio, np.float32)]
        else:
            blocks = open_stream(Path(audio), frontend.sampling_rate, frontend.bounds.shortest).blocks()
        data = self.opened.settings.data
        limits = lengths(frontend.bounds, data)
        pieces = ((0, piece) for piece in cut(blocks, frontend.sampling_rate, limits.piece))
        found = transcribe_stream(frontend, self.opened.backend, pieces, data.batch_size, limits.batch)
        heard = sorted((h for batch in found for h in batch), key=lambda h: h.start)
        return joined([h.answer for h in heard])

    def answers(self, speech: Speech) -> tuple[Answer, ...]:
        """Text of many recordings, in batches of similar length."""
        return transcribe(self.opened.frontend, self.opened.backend, speech)

    def evaluate(self, speech: Speech) -> Evaluation:
        """Answers and score. Of speech without text, against what the float checkpoint says, which must be at hand."""
        task = task_of(self.opened.settings.data).suited(speech.utterances)
        if unlabelled(speech.utterances):
            speech = said_by(self.opened.frontend, float_of(self.opened, self.folder), speech)
        return evaluate_on(self.opened.frontend, self.opened.backend, task, speech)


def open(model: Run | str | Path, *, runtime: str = "", threads: int | None = None) -> Model:
    """Open a folder that `quantize` wrote, with the fastest runtime that it has files for, or a float checkpoint.

    Args:
        model: The folder.
        runtime: "onnxruntime", "openvino", "openvino-bf16" or "torch"; default: by files, installation and processor.
        threads: Of the runtime; default: its own choice.

    Raises:
        ModelError: The folder is neither.
        MissingRuntimeError: The runtime is not installed.
    """
    folder = model.folder if isinstance(model, Run) else model
    return Model(open_model(folder, runtime=runtime, threads=threads), folder)
