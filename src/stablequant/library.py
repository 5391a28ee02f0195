"""The front door: what a researcher types. `import stablequant as sq` hands these names out, each when first used.

The functions here join the rooms for the usual order of work: load, read speech, observe, choose a scheme, evaluate, search,
quantise, export, open. What they return are the rooms' own objects, so anything more special can go on from there.
docs/python.md walks through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.data.audio import read
from stablequant.data.speech import Speech
from stablequant.errors import DataError
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.grid.weights import WeightSpec
from stablequant.heads.head import Answer
from stablequant.jobs import export as export_job
from stablequant.jobs.evaluate import evaluate_on
from stablequant.jobs.evidence import Job
from stablequant.jobs.open import Opened, open_model, simulator
from stablequant.jobs.quantize import require_kernels, run
from stablequant.jobs.speech import read_splits
from stablequant.observe import collect
from stablequant.observe.collect import Histograms
from stablequant.progress import Progress, silent
from stablequant.quantize import calibrated
from stablequant.quantize.plan import Plan
from stablequant.quantize.scheme import LayerScheme, Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.report.write import read_summary, write_reports
from stablequant.runtime.transcribe import transcribe
from stablequant.search import trials as search_trials
from stablequant.search.exact import Exact
from stablequant.search.journal import Journal
from stablequant.search.objective import Objective, TaskError
from stablequant.search.pools import LocalPool
from stablequant.search.stage1 import Sensitivity
from stablequant.search.stage2 import PercentileSearch, search_p
from stablequant.search.trials import Candidate, Outcome
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import Difference, paired_bootstrap
from stablequant.tasks.task import Evaluation, task_of


@dataclass(frozen=True)
class SpeechSplits:
    """Speech in three disjoint parts.

    Attributes:
        calibration: Observed, to set ranges.
        dev: Evaluated over and over by the search.
        test: Evaluated at the end, to report.
        sources: Where it came from, as it was named.
        settings: That it was read with.
    """

    calibration: Speech
    dev: Speech
    test: Speech
    sources: tuple[str, ...]
    settings: Settings

    def first(self, count: int) -> SpeechSplits:
        """The first ``count`` utterances of each part, for a quick look."""
        parts = {name: getattr(self, name).first(count) for name in ("calibration", "dev", "test")}
        return replace(self, **parts)


def read_speech(sources: Sequence[str], model: SpeechModel, **settings: Any) -> SpeechSplits:
    """Read labelled speech for ``model``: decoded, resampled, checked against its alphabet, divided.

    Args:
        sources: LibriSpeech folders, JSONL or TSV manifests, folders with a ``manifest.jsonl``, or ``hf:name:config:split``.
        model: What it is for.
        settings: Any of docs/settings.md, such as ``seed=1`` or ``batch_size=8``.

    Raises:
        DataError: A source is missing or malformed, or too many recordings cannot be used; names each.
        SettingsError: A setting is unknown or has an impossible value.
    """
    chosen = Settings.parse(settings)
    parts = read_splits(model.frontend, task_of(chosen.data), [str(s) for s in sources], chosen)
    return SpeechSplits(**parts, sources=tuple(map(str, sources)), settings=chosen)


def observe(model: SpeechModel, speech: Speech, *, attention_matmuls: bool = False) -> Histograms:
    """Histograms of the activations of every layer of the float ``model`` on ``speech``, by layer, padding left out.

    Args:
        model: What is observed.
        speech: Calibration speech; its text is not used.
        attention_matmuls: Whether to observe attention's two products too.
    """
    batches = (speech.waveforms_of(batch) for batch in speech.batches)
    return collect.observe(model, batches, matmuls=attention_matmuls)


def scheme(
    model: SpeechModel,
    statistics: Histograms,
    calibrator: str = "mse",
    *,
    weights: WeightSpec | None = None,
    layers: Sequence[str] | None = None,
    **settings: Any,
) -> dict[str, LayerScheme]:
    """Every layer quantised by one calibrator.

    Args:
        model: What is quantised.
        statistics: Of `observe`.
        calibrator: "max", "percentile", "mse", "entropy", "clipped_mse", or one registered with `calibrator`.
        weights: How weights become integers; default: 8 bits, one scale an output channel.
        layers: Names of the layers to quantise, others stay in float; default: all.
        settings: Any of docs/settings.md, such as ``symmetric=False`` or ``percentile=99.9``.

    Raises:
        SettingsError: The calibrator or a setting is unknown.
        DataError: A layer was not observed.
    """
    chosen = Settings.parse(settings)
    names = list(statistics) if layers is None else list(layers)
    if unknown := sorted(set(names) - set(statistics)):
        what = f"layers {', '.join(unknown)} were not observed"
        raise DataError(
            what, expected=f"names among {len(statistics)} of this model", fix="stablequant inspect lists them"
        )
    found = {name: calibrated.layer(statistics, name, calibrator, chosen) for name in names}
    if weights is None:
        return found
    return {name: replace(s, weight=weights) if s.weight else s for name, s in found.items()}


def evaluate(model: SpeechModel, speech: Speech, scheme: Scheme | None = None, **settings: Any) -> Evaluation:
    """Answers and score of ``model`` on ``speech``, in float or, with a ``scheme``, in simulated quantisation."""
    matmuls = any(layer.weight is None for layer in (scheme or {}).values())
    backend = Simulator(model, matmuls=matmuls).backend(scheme or {})
    return evaluate_on(model.frontend, backend, task_of(Settings.parse(settings).data), speech)


def compare(before: Evaluation, after: Evaluation) -> Difference:
    """By how much ``after`` errs more than ``before`` on the same speech, with its paired 95 % interval, in points.

    Raises:
        DataError: They were not evaluated on the same speech.
    """
    return paired_bootstrap(before.score, after.score)


def Trials(  # noqa: N802 - it makes one
    model: SpeechModel,
    speech: Speech,
    objective: Objective | None = None,
    *,
    journal: str | Path | None = None,
    workers: int = 1,
    progress: Progress = silent,
    **settings: Any,
) -> search_trials.Trials:
    """What evaluates candidate schemes on ``speech``.

    Args:
        model: What is quantised.
        speech: Dev speech.
        objective: `TaskError` (the default: the task's error rate) or `Divergence`, which needs no labels.
        journal: File that finished trials are kept in and found again; default: in memory.
        workers: Processes that share the work.
        progress: Told what is running.
        settings: Any of docs/settings.md.
    """
    chosen = Settings.parse(settings)
    return search_trials.Trials(
        simulator(model, chosen),
        speech,
        chosen,
        objective or TaskError(task_of(chosen.data)),
        Journal(None if journal is None else Path(journal)),
        progress,
        LocalPool(workers),
    )


@dataclass(frozen=True)
class Stage1:
    """What stage 1 found.

    Attributes:
        reference: Float on the dev speech.
        layers: Each layer's cost alone, in network order.
    """

    reference: Outcome
    layers: tuple[Sensitivity, ...]

    @property
    def flagged(self) -> tuple[str, ...]:
        """Names of the layers that cost more than gamma, the most sensitive first."""
        return tuple(s.name for s in sorted(self.layers, key=lambda s: -s.delta) if s.flagged)


def stage1(trials: search_trials.Trials, statistics: Histograms, **settings: Any) -> Stage1:
    """Quantise one layer at a time and flag those that cost more than ``gamma`` points (StableQuant, stage 1)."""
    trials = replace(trials, settings=trials.settings.updated(**settings))
    (reference,) = trials.run([Candidate("float", {})], "float")
    return Stage1(reference, tuple(Exact(trials, reference).sensitivity(statistics)))


def stage2(
    trials: search_trials.Trials, statistics: Histograms, flagged: Sequence[str], **settings: Any
) -> PercentileSearch:
    """Search the share p of outliers to clip from the flagged layers (StableQuant, stage 2): its ``p`` and ``scheme``."""
    trials = replace(trials, settings=trials.settings.updated(**settings))
    (reference,) = trials.run([Candidate("float", {})], "float")
    return search_p(Exact(trials, reference), statistics, flagged, trials.settings)


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
    workers: int = 1,
    progress: Progress = silent,
    **settings: Any,
) -> Run:
    """All of it: observe, search, write int8 files, check them against the simulation, report.

    Args:
        model: From `load`, or its folder or hub id.
        speech: From `read_speech`, or sources for it.
        out: Folder to write; a run that was stopped there goes on.
        workers: Processes that share the trials.
        progress: Told what is running.
        settings: Any of docs/settings.md; those that the speech was read with stay as they are.

    Raises:
        StablequantError: Of any kind; what was computed stays in ``out``.
    """
    loaded = load(model) if isinstance(model, str) else model
    if not isinstance(speech, SpeechSplits):
        speech = read_speech(speech, loaded, **settings)
    chosen = speech.settings.updated(**settings)
    require_kernels(chosen)
    parts = {"calibration": speech.calibration, "dev": speech.dev, "test": speech.test}
    job = Job(
        loaded,
        parts,
        task_of(chosen.data),
        Path(out),
        chosen,
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
    """

    opened: Opened

    @property
    def runtime(self) -> str:
        """What runs it, in words."""
        return self.opened.runtime

    def transcribe(self, audio: str | Path | NDArray[np.floating]) -> Answer:
        """Text of one recording: a file, or mono samples ``[T]`` at the model's rate, in [-1, 1].

        Raises:
            AudioError: The recording cannot be used; says why.
        """
        frontend = self.opened.frontend
        if not isinstance(audio, np.ndarray):
            audio = read(Path(audio), frontend.sampling_rate, frontend.bounds.shortest)
        (answer,) = frontend.recognize(self.opened.backend, [np.asarray(audio, np.float32)])
        return answer

    def answers(self, speech: Speech) -> tuple[Answer, ...]:
        """Text of many recordings, in batches of similar length."""
        return transcribe(self.opened.frontend, self.opened.backend, speech)

    def evaluate(self, speech: Speech) -> Evaluation:
        """Answers and score on labelled speech."""
        task = task_of(self.opened.settings.data)
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
    return Model(open_model(folder, runtime=runtime, threads=threads))
