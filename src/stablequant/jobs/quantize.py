"""The main job, end to end: observe, stage 1, stage 2, plan, export, verify.

Every stage leaves a file in the output folder, with the identity of what it was made from; a stage whose file is
there and fits is not done again. What costs time, the trials, is in the journal one by one. What is handed over is built
aside and put in place together (export/run_folder.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from stablequant.errors import ModelError, SettingsError
from stablequant.export import package
from stablequant.export.run_folder import RunFolder, require_ours
from stablequant.export.translate import BITS
from stablequant.families.checkpoint import load
from stablequant.grid.calibrators import require_calibrator
from stablequant.jobs import check
from stablequant.jobs.evidence import BASELINES, Evidence, Job
from stablequant.jobs.open import simulator
from stablequant.jobs.speech import read_splits
from stablequant.measure.latency import speedup
from stablequant.observe.cached import observe_once
from stablequant.observe.collect import Histograms
from stablequant.progress import Clock, Progress, silent
from stablequant.quantize import calibrated
from stablequant.quantize.plan import SpeechIdentity
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.search.compose import compose
from stablequant.search.journal import Journal
from stablequant.search.objective import TaskError
from stablequant.search.pools import LocalPool, Pool
from stablequant.search.stage1 import Sensitivity, resolution
from stablequant.search.stages import Found, search
from stablequant.search.trials import Candidate, Outcome, Trials
from stablequant.settings import Settings
from stablequant.tasks.task import Evaluation
from stablequant.tasks.task import evaluate as evaluate_answers


def quantize(
    model: str,
    sources: Sequence[str],
    out: Path,
    settings: Settings,
    *,
    command: str = "",
    known: Sequence[Sensitivity] | None = None,
    pool: Pool = LocalPool(),  # noqa: B008 - of one process, it holds nothing
    wait: bool = False,
    force: bool = False,
    report: Callable[[Evidence, Path], object] | None = None,
    progress: Progress = silent,
) -> Evidence:
    """Quantise a model and export it to ``out``, with the evidence of what it cost.

    Args:
        model: Folder or hub id of the checkpoint.
        sources: Manifests, folders or ``hf:`` data sets of labelled speech.
        out: Folder to write to; a run that was stopped there goes on.
        settings: How.
        command: The command line that makes this run again, for the record.
        known: What stage 1 found in an earlier run of this model, speech and settings, one entry an operation in network
            order; default: it is run.
        pool: The workers that share the trials; default: this process, with all threads.
        wait: Whether to wait for another run that holds ``out``, instead of refusing.
        force: Whether to go on although the model does not work in float.
        report: Writes reports of what was found into a folder, before all of it is handed over.
        progress: Told what is running.

    Raises:
        StablequantError: Of any kind; what was computed stays in ``out``.
    """
    require_kernels(settings)
    require_ours(out, Path(model))
    began = time.perf_counter()
    loaded = load(model).asked(settings.data.language, translate=settings.data.translate)
    speech, task, settings = read_splits(loaded.frontend, sources, settings)
    clock = Clock({"load": round(time.perf_counter() - began, 2)})
    return run(
        Job(
            loaded,
            speech,
            task,
            out,
            settings,
            model,
            tuple(sources),
            command,
            known,
            pool,
            wait,
            report,
            force,
            clock,
            progress,
        )
    )


def require_kernels(settings: Settings) -> None:
    """Raise SettingsError where no runtime has kernels for what would be exported, or a calibrator is unknown."""
    for group in (settings.activations, settings.weights):
        if group.bits != BITS:
            what = f"setting bits is {group.bits}"
            raise SettingsError(what, expected=f"{BITS}: the width of the kernels that run the exported file")
    require_calibrator(settings.activations.calibrator)
    if settings.activations.scales == "frame" and settings.search.strategy != "none":
        what = f"scales=frame with strategy={settings.search.strategy}"
        fix = "leave the search out (--recipe fast, or --set strategy=none), or use calibrated scales"
        raise SettingsError(what, expected="strategy=none: a scale a frame leaves nothing to clip", fix=fix)


def run(job: Job) -> Evidence:
    """`quantize` with model and speech at hand."""
    require_ours(job.out, job.model.path)
    with RunFolder(job.out).held(wait=job.wait) as folder:
        evidence = _found(job, folder)
        if job.report:
            job.report(evidence, folder.aside)
        folder.publish()
    return evidence


def _found(job: Job, folder: RunFolder) -> Evidence:
    """All of the job but its last step: files and plan are left aside in ``folder``."""
    settings, clock = job.settings, job.clock
    simulated = simulator(job.model, settings)
    with Journal(folder.path / "trials.sqlite", wait=job.wait) as journal:

        def trials(split: str) -> Trials:
            objective = TaskError(job.task)
            return Trials(simulated, job.speech[split], settings, objective, journal, job.progress, job.pool)

        with clock.stage("observe"):
            matmuls = settings.activations.attention_matmuls
            speech, kept = job.speech["calibration"], folder.path / "activations.npz"
            histograms = observe_once(job.model, speech, matmuls, kept, job.progress)
        with clock.stage("search"):
            found = search(trials("dev"), histograms, settings, job.known, partial(_require_sense, job))
            resolved = resolution(found.layers)
        with clock.stage("test"):
            test = _test(job, trials("test"), histograms, found)
            job.pool.close()  # the memory of the workers is for what follows
    plan = compose(job.model, job.name, _identities(job), settings, histograms, found)
    with clock.stage("export"):
        plan.save(folder.aside / "plan.json")
        files = package.write_graphs(job.model, plan, folder.aside)
        package.copy_processor(job.model.path, folder.aside)
    with clock.stage("verify"):
        backend = OnnxRuntimeBackend(files)
        test["int8_file"], agreements, warnings = check.check(job, files, backend, test)
    with clock.stage("speed"):
        seconds = check.measure_speed(job, backend, folder.path / "float")
    return Evidence(
        job=job,
        plan=plan,
        histograms=histograms,
        search=found,
        resolution=resolved,
        test=test,
        agreements=tuple(agreements),
        warnings=(
            *job.model.notes,
            *warnings,
            *too_coarse(resolved, found.reference.score.total, settings),
            *_too_costly(found, settings),
        ),
        runtime=backend.name,
        file_bytes=sum(path.stat().st_size for path in files.values()),
        speedup=speedup(seconds, "int8", "float"),
        speed_seconds=seconds,
    )


def _identities(job: Job) -> dict[str, SpeechIdentity]:
    return {
        split: SpeechIdentity(
            sources=job.sources,
            fingerprint=s.fingerprint,
            details={"utterances": len(s.utterances), "seconds": round(s.seconds, 1)},
        )
        for split, s in job.speech.items()
    }


def _require_sense(job: Job, reference: Outcome) -> None:
    """Raise ModelError where the float model does not work on the dev speech: no search could say what costs words."""
    doubts = job.task.doubts(job.speech["dev"].utterances, reference.readings)
    if doubts and not job.force:
        what = f"{job.name or job.model.path} does not work in float on the dev speech: {'; '.join(doubts)}"
        causes = "a tokenizer of another model, audio of another rate or language, or damaged weights"
        raise ModelError(
            what, expected="a model that works in float", fix=f"look for {causes}; --force goes on all the same"
        )


def too_coarse(resolved: float | None, units: float, settings: Settings) -> list[str]:
    """A warning where chance alone flags layers: the dev speech is too small for gamma."""
    gamma = settings.search.gamma
    if resolved is None or resolved <= gamma or settings.search.beyond_chance:
        return []
    return [
        f"the dev speech ({units:g} words) tells differences of about {resolved:.2f} points from chance, gamma is "
        f"{gamma:g}: layers may be flagged by chance; give more dev speech, or --set beyond_chance=true"
    ]


def _too_costly(found: Found, settings: Settings) -> list[str]:
    """A warning where even layers in float left the plan above its limit."""
    limit = settings.search.max_drop
    if found.floats is None or limit is None or found.floats.after <= limit:
        return []
    return [
        f"the plan costs {found.floats.after:+.2f} points on the dev speech, more than max_drop {limit:g}, with "
        f"{len(found.floats.floats)} layers left in float; no further layer brought it down"
    ]


def _test(job: Job, trials: Trials, histograms: Histograms, found: Found) -> dict[str, Evaluation]:
    """Float, the baselines and stablequant on the test speech."""
    (reference,) = trials.run([Candidate("float", {})], "float on test")
    candidates = [Candidate(name, calibrated.uniform(histograms, name, job.settings)) for name in BASELINES]
    candidates.append(Candidate("stablequant", found.scheme))
    outcomes = [reference, *trials.run(candidates, "methods on test", base=found.scheme)]
    return {
        name: evaluate_answers(job.task, trials.speech.utterances, outcome.readings)
        for name, outcome in zip(("float", *BASELINES, "stablequant"), outcomes, strict=True)
    }
