"""The main job, end to end: observe, stage 1, stage 2, plan, export, verify.

Every stage leaves a file in the output folder, with the identity of what it was made from; a stage whose file is
there and fits is not done again. What costs time, the trials, is in the journal one by one. What is handed over is built
aside and put in place together (export/run_folder.py).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from stablequant.data.speech import Speech
from stablequant.export import package
from stablequant.export.run_folder import RunFolder, require_ours
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.jobs import check
from stablequant.jobs.cautions import too_coarse, too_costly
from stablequant.jobs.evaluate import against_float
from stablequant.jobs.evidence import Evidence, Job
from stablequant.jobs.find_scheme import find_scheme, with_text
from stablequant.jobs.open import simulator
from stablequant.jobs.requirements import require_labels, require_possible
from stablequant.jobs.rivals import Rivals, TrialsOn
from stablequant.jobs.speech import divide, read
from stablequant.measure.latency import speedup
from stablequant.observe.cached import observe_once
from stablequant.observe.collect import Histograms
from stablequant.observe.moments import StoredMoments, moments_once
from stablequant.progress import Clock, Progress, silent
from stablequant.quantize.folding.kept import NAME as FOLD
from stablequant.quantize.folding.kept import folded_once
from stablequant.quantize.folding.trained import left_if_trained
from stablequant.quantize.options import options
from stablequant.quantize.plan import SpeechIdentity
from stablequant.quantize.scheme import weight_spec
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weight_file import save_weights
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.registry import size
from stablequant.search.budget import require_room
from stablequant.search.compose import compose
from stablequant.search.journal import Journal
from stablequant.search.objective import Divergence, Objective, TaskError
from stablequant.search.pools import LocalPool, Pool
from stablequant.search.stage1 import Sensitivity, resolution
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings
from stablequant.tasks.likeness import Likeness
from stablequant.tasks.score import Score
from stablequant.tasks.task import Evaluation
from stablequant.tasks.task import evaluate as evaluate_answers

#: Of the inputs of layers, and of a fold, beside the trials.
MOMENTS, FACTORS, CODES = "moments.safetensors", "factors.safetensors", "codes"
#: Of a checkpoint whose model was folded, what other methods calibrate on.
UNFOLDED = "unfolded.npz"
#: Of each model, what makes its trials and what is tried.
Beside = Sequence[tuple[TrialsOn, Sequence[Candidate]]]


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
        sources: Manifests, folders or ``hf:`` data sets of speech. Where none has a text, what the float model says stands
            in its place, and trials must be judged by divergence.
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
    require_possible(settings)
    require_ours(out, Path(model))
    began = time.perf_counter()
    data = settings.data
    loaded = load(model, data.language).asked(data.language, translate=data.translate, window=data.window)
    require_room(loaded, settings)
    division = divide(sources, settings)
    require_labels(division.parts["dev"], settings)
    speech = read(loaded.frontend, division)
    clock = Clock({"load": round(time.perf_counter() - began, 2)})
    return run(
        Job(
            loaded,
            speech,
            division.task,
            out,
            division.settings,
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


def run(job: Job) -> Evidence:
    """`quantize` with model and speech at hand."""
    require_ours(job.out, job.model.path)
    model, settings = left_if_trained(job.model, job.settings)
    with RunFolder(job.out).held(wait=job.wait) as folder:
        evidence = _found(replace(job, model=model, settings=settings), folder)
        if job.report:
            job.report(evidence, folder.aside)
        folder.publish()
        # Large, or handed over, and of use to a run that goes on alone.
        (folder.path / MOMENTS).unlink(missing_ok=True)
        (folder.path / FACTORS).unlink(missing_ok=True)
        shutil.rmtree(folder.path / CODES, ignore_errors=True)
    return evidence


def _found(job: Job, folder: RunFolder) -> Evidence:
    """All of the job but its last step: files and plan are left aside in ``folder``."""
    settings, clock = job.settings, job.clock
    with Journal(folder.path / "trials.sqlite", wait=job.wait) as journal:

        def made(simulated: Simulator, speech: Speech, objective: Objective) -> Trials:
            return Trials(simulated, speech, settings, objective, journal, job.progress, job.pool)

        with clock.stage("observe"):
            checkpoint, job = job.model, _folded(job, folder)
            histograms = _observed(job, job.model, folder.path / "activations.npz")
            unfolded = histograms if job.model is checkpoint else _observed(job, checkpoint, folder.path / UNFOLDED)
            moments = None
            if weight_spec(settings.weights).from_speech:
                moments = moments_once(job.model, job.speech["calibration"], folder.path / MOMENTS, job.progress)
        with clock.stage("weights"):
            weights = _weights(job, histograms, moments, folder.path / CODES)
            simulated = simulator(job.model, settings, weights)
            as_it_is = simulated if job.model is checkpoint else simulator(checkpoint, settings)
        trials, rivals = partial(made, simulated), Rivals.of(partial(made, as_it_is), unfolded, settings)
        with clock.stage("search"):
            answers, found = find_scheme(job, trials, histograms, rivals)
            resolved = resolution(found.layers)
        with clock.stage("test"):
            identities = _identities(job)
            speech = with_text(job, trials, job.speech["test"], "test")
            job = replace(job, speech={**job.speech, "test": speech})
            plan_scheme = Candidate("stablequant", found.scheme)
            beside = (rivals.trials, rivals.candidates(found.paper)), (trials, [plan_scheme])
            test = _test(job, speech, beside)
            distances = _distances(speech, beside) if isinstance(job.task, Likeness) else {}
            job.pool.close()  # the memory of the workers is for what follows
    plan = compose(job.model, job.name, identities, settings, histograms, found, weights)
    with clock.stage("export"):
        plan.save(folder.aside / "plan.json")
        save_weights(folder.aside, plan, weights)
        if settings.fold != "none":
            shutil.copyfile(folder.path / FACTORS, folder.aside / FOLD)
        files = package.write_graphs(job.model, plan, folder.aside, weights=weights)
        package.copy_processor(job.model.path, folder.aside)
    with check.float_files(checkpoint, folder.path / "float") as floats:
        as_it_is.let_go()
        simulated.let_go()  # runtimes now hold the weights, in float and in int8
        with clock.stage("verify"):
            backend = OnnxRuntimeBackend(files)
            test["int8_file"], agreements, warnings = check.check(job, files, backend, test)
            if distances:
                frontend = job.model.frontend
                plain = simulated.backend({})
                _, distances["int8_file"] = against_float(frontend, plain, backend, speech, job.progress)
                simulated.let_go()
        with clock.stage("speed"):
            seconds = check.measure_speed(job, backend, floats)
    return Evidence(
        job=job,
        plan=plan,
        histograms=histograms,
        search=found,
        dev=answers.score,
        resolution=resolved,
        test=test,
        agreements=tuple(agreements),
        warnings=(
            *job.model.notes,
            *warnings,
            *too_coarse(resolved, answers.score.total, settings),
            *too_costly(found, settings),
        ),
        runtime=backend.name,
        file_bytes=size(files.values()),
        speedup=speedup(seconds, "int8", "float"),
        speed_seconds=seconds,
        fidelity=distances,
    )


def _folded(job: Job, folder: RunFolder) -> Job:
    """The job on a model that is folded, if the settings say so; its factors lie beside the trials."""
    method, speech = job.settings.fold, job.speech["calibration"]
    if method == "none":
        return job
    known = [folder.path / FOLD]  # of a run that has ended
    return replace(job, model=folded_once(job.model, speech, method, folder.path / FACTORS, known))


def _weights(job: Job, histograms: Histograms, moments: StoredMoments | None, kept: Path) -> WeightStore:
    """The integer weights of the run; what is rounded for calibration speech is made now, once for all workers."""
    store, settings = WeightStore.of(job.model, moments, kept), job.settings
    if not weight_spec(settings.weights).from_speech:
        return store
    ops = job.model.ops()
    for done, op in enumerate(ops, 1):
        chosen_from = [s.weight for s in options(job.model, op, histograms, settings).values() if s.weight]
        for spec in dict.fromkeys([weight_spec(settings.weights), *chosen_from]):  # the first is that of other methods
            store.codes(op.name, spec)
        job.progress("rounding weights", done, len(ops))
    return store


def _identities(job: Job) -> dict[str, SpeechIdentity]:
    return {
        split: SpeechIdentity(
            sources=job.sources,
            fingerprint=s.fingerprint,
            details={"utterances": len(s.utterances), "seconds": round(s.seconds, 1)},
        )
        for split, s in job.speech.items()
    }


def _observed(job: Job, model: SpeechModel, path: Path) -> Histograms:
    matmuls = job.settings.activations.attention_matmuls
    return observe_once(model, job.speech["calibration"], matmuls, path, job.progress)


def _test(job: Job, speech: Speech, beside: Beside) -> dict[str, Evaluation]:
    """Float, and the candidates of each model, on the test speech."""
    found: dict[str, Evaluation] = {}
    for trials, candidates in beside:
        own = trials(speech, TaskError(job.task))
        outcomes = [] if found else own.run([Candidate("float", {})], "float on test")
        outcomes = [*outcomes, *own.run(candidates, "methods on test", base=candidates[-1].scheme)]
        found |= {o.candidate.label: evaluate_answers(job.task, speech.utterances, o.readings) for o in outcomes}
        own.simulator.let_go_codes()  # beside those of the next model they would be felt
    return found


def _distances(speech: Speech, beside: Beside) -> dict[str, Score]:
    """How far the candidates' outputs diverge from float's on the test speech."""
    title = "divergence of methods on test"
    outcomes = [trials(speech, Divergence()).run(cs, title, base=cs[-1].scheme) for trials, cs in beside]
    return {o.candidate.label: o.score for found in outcomes for o in found}
