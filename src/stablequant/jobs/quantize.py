"""The main job, end to end: observe, stage 1, stage 2, plan, export, verify, report.

Every stage leaves a file in the output folder, with the identity of what it was made from; a stage whose file is
there and fits is not done again. What costs time, the trials, is in the journal one by one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stablequant.data import manifest
from stablequant.data.audio import require_few_bad
from stablequant.data.speech import Speech
from stablequant.data.splits import make_splits
from stablequant.data.utterance import Utterance
from stablequant.errors import DataError, SettingsError
from stablequant.export import agreement, package
from stablequant.families.checkpoint import load
from stablequant.families.frontend import Frontend
from stablequant.families.model import SpeechModel
from stablequant.jobs import check
from stablequant.measure.latency import speedup
from stablequant.observe.cached import observe_once
from stablequant.observe.collect import Histograms
from stablequant.quantize import calibrated
from stablequant.quantize.plan import Identity, Plan
from stablequant.quantize.simulate import Simulator
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.search.compose import compose
from stablequant.search.journal import Journal
from stablequant.search.pools import LocalPool, Pool
from stablequant.search.stage1 import Sensitivity, resolution
from stablequant.search.stages import Found, search
from stablequant.search.trials import Candidate, Outcome, Progress, Trials
from stablequant.settings import Settings
from stablequant.tasks.asr import EvaluationResult
from stablequant.tasks.vocabulary import check_vocabulary

#: Whole-model methods that stablequant is held against: the same calibrator for every layer.
RIVALS = ("max", "percentile", "mse")


@dataclass(frozen=True)
class Evidence:
    """All that a run found out; the report room turns it into summary, card and page."""

    model: SpeechModel
    plan: Plan
    histograms: Histograms
    search: Found
    resolution: float | None
    """Points of WER that the dev speech tells from chance."""
    test: dict[str, EvaluationResult]
    """By method: float, max, percentile, mse, stablequant (simulated), int8_file."""
    verifications: tuple[agreement.Verification, ...]
    warnings: tuple[str, ...]
    """What a user should hear of although the file is right: it does what the plan says, and the plan costs this."""
    runtime: str
    file_bytes: int
    speedup: float
    speed_seconds: dict[str, list[float]]
    skipped: dict[str, tuple[tuple[str, str], ...]]
    seconds: dict[str, float]
    command: str


@dataclass
class Clock:
    """Seconds spent in each stage of this run."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - began, 2)


def quantize(
    model_name: str,
    data: Sequence[str],
    out: Path,
    settings: Settings,
    *,
    command: str = "",
    sensitivities: Sequence[Sensitivity] | None = None,
    pool: Pool = LocalPool(),  # noqa: B008 - of one process, it holds nothing
    wait: bool = False,
    progress: Progress = lambda title, done, total: None,
) -> Evidence:
    """Quantise a model and export it to ``out``, with the evidence of what it cost.

    Args:
        model_name: Folder or hub id of the checkpoint.
        data: Manifests, folders or ``hf:`` data sets of labelled speech.
        out: Folder to write to; a run that was stopped there goes on.
        settings: How.
        command: The command line that makes this run again, for the record.
        sensitivities: What stage 1 found in an earlier run of this model, speech and settings, one entry an operation in
            network order; default: it is run.
        pool: The workers that share the trials; default: this process, with all threads.
        wait: Whether to wait for another run that holds ``out``, instead of refusing.
        progress: Told what is running.

    Raises:
        StablequantError: Of any kind; what was computed stays in ``out``.
    """
    require_kernels(settings)
    began = time.perf_counter()
    model = load(model_name)
    speech = read_speech(model.frontend, data, settings)
    clock = Clock({"load": round(time.perf_counter() - began, 2)})
    names = Names(model_name, ", ".join(data), command)
    return run(model, speech, out, settings, names, clock, sensitivities, pool, wait=wait, progress=progress)


def require_kernels(settings: Settings) -> None:
    """Raise SettingsError where no runtime has kernels for what would be exported."""
    if settings.bits != package.BITS:
        what = f"setting bits is {settings.bits}"
        raise SettingsError(what, expected=f"{package.BITS}: the width of the kernels that run the exported file")


@dataclass(frozen=True)
class Names:
    """What the user called things, for the record."""

    model: str
    data: str
    command: str


def run(
    model: SpeechModel,
    speech: Mapping[str, Speech],
    out: Path,
    settings: Settings,
    names: Names,
    clock: Clock,
    sensitivities: Sequence[Sensitivity] | None,
    pool: Pool,
    *,
    wait: bool,
    progress: Progress,
) -> Evidence:
    """`quantize` with model and speech at hand: calibration, dev and test."""
    simulator = Simulator.under(model, settings)
    identities = {
        split: Identity(
            name=names.data,
            fingerprint=s.fingerprint,
            details={"utterances": len(s.utterances), "seconds": round(s.seconds, 1)},
        )
        for split, s in speech.items()
    }
    with Journal(out / "trials.sqlite", wait=wait) as journal:

        def trials(split: str) -> Trials:
            return Trials(simulator, speech[split], settings, journal, progress, pool)

        with clock.stage("observe"):
            histograms = observe_once(
                model, speech["calibration"], settings.attention_matmuls, out / "activations.npz", progress
            )
        with clock.stage("search"):
            found = search(trials("dev"), histograms, settings, sensitivities)
            resolved = resolution(found.layers)
        plan = compose(model, names.model, identities, settings, histograms, found)
        plan.save(out / "plan.json")

        with clock.stage("test"):
            outcomes = _test(trials("test"), histograms, found, settings)
            pool.close()  # the memory of the workers is for what follows
    with clock.stage("export"):
        aside = out / "unverified"
        files = package.write_graphs(model, plan, aside)
        package.copy_processor(model.path, out)
    with clock.stage("verify"):
        backend = OnnxRuntimeBackend(files)
        result, verifications, warnings = check.check(
            model.frontend, backend, files, speech["test"], outcomes, settings, aside, progress
        )
    with clock.stage("speed"):
        seconds = check.measure_speed(model, backend, out / "float", speech["test"])
    size = 0
    for path in files.values():
        size += path.stat().st_size
        path.replace(out / path.name)
    aside.rmdir()
    return Evidence(
        model=model,
        plan=plan,
        histograms=histograms,
        search=found,
        resolution=resolved,
        test={**{name: o.result for name, o in outcomes.items()}, "int8_file": result},
        verifications=tuple(verifications),
        warnings=(
            *warnings,
            *_too_coarse(resolved, found.reference.result.total_words, settings),
            *_too_costly(found, settings),
        ),
        runtime=backend.name,
        file_bytes=size,
        speedup=speedup(seconds, "int8", "float"),
        speed_seconds=seconds,
        skipped={name: s.skipped for name, s in speech.items()},
        seconds=clock.seconds,
        command=names.command,
    )


def read_speech(frontend: Frontend, data: Sequence[str], settings: Settings) -> dict[str, Speech]:
    """Calibration, dev and test speech, disjoint, decoded and checked against the model's alphabet."""
    splits = make_splits(manifest.load(data), settings.seed)
    order = np.random.default_rng(settings.seed).permutation(len(splits.calibration))
    drawn = tuple(splits.calibration[i] for i in sorted(order[: settings.calibration_utterances]))
    return decode(frontend, {"calibration": drawn, "dev": splits.dev, "test": splits.test}, settings)


def decode(frontend: Frontend, parts: Mapping[str, Sequence[Utterance]], settings: Settings) -> dict[str, Speech]:
    """Audio of each part at the model's rate, its text checked against the model's alphabet.

    What cannot be used is skipped; its share is counted over all parts together, and none may be left empty.
    """
    everything = [utterance for part in parts.values() for utterance in part]
    refused: dict[str, str] = {}
    if frontend.shape == "ctc":
        alphabet = frontend.processor.tokenizer.get_vocab()
        refused = check_vocabulary(everything, alphabet, settings.max_bad_fraction)
    speech = {}
    for name, part in parts.items():
        if not part:
            what = f"the split {name} holds no utterance"
            raise DataError(what, expected="speech to calibrate, to search and to test on", fix="give more data")
        speech[name] = Speech.read(
            part,
            frontend.sampling_rate,
            max_bad_fraction=1.0,
            batch_size=settings.batch_size,
            batch_seconds=settings.batch_seconds,
            shortest=frontend.shortest,
            refused=refused,
        )
    require_few_bad([bad for s in speech.values() for bad in s.skipped], len(everything), settings.max_bad_fraction)
    return speech


def _too_coarse(resolved: float | None, words: int, settings: Settings) -> list[str]:
    """A warning where chance alone flags layers: the dev speech is too small for gamma."""
    if resolved is None or resolved <= settings.gamma or settings.beyond_chance:
        return []
    return [
        f"the dev speech ({words} words) tells differences of about {resolved:.2f} points of WER from chance, gamma is "
        f"{settings.gamma:g}: layers may be flagged by chance; give more dev speech, or --set beyond_chance=true"
    ]


def _too_costly(found: Found, settings: Settings) -> list[str]:
    """A warning where even the last resort left the plan above its limit."""
    if found.floats is None or settings.max_drop is None or found.floats.after <= settings.max_drop:
        return []
    return [
        f"the plan costs {found.floats.after:+.2f} points on the dev speech, more than max_drop {settings.max_drop:g}, with "
        f"{len(found.floats.floats)} layers left in float; no further layer brought it down"
    ]


def _test(trials: Trials, histograms: Histograms, found: Found, settings: Settings) -> dict[str, Outcome]:
    """Float, the rivals and stablequant on the test speech."""
    (reference,) = trials.run([Candidate("float", {})], "float on test")
    candidates = [Candidate(name, calibrated.uniform(histograms, name, settings)) for name in RIVALS]
    candidates.append(Candidate("stablequant", found.scheme))
    outcomes = trials.run(candidates, "methods on test", base=found.scheme)
    named = zip((*RIVALS, "stablequant"), outcomes, strict=True)
    return {"float": reference, **dict(named)}
