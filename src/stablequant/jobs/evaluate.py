"""Measure a model on speech: a float checkpoint, int8 files, or a simulated plan; without text, against the float model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stablequant.data import manifest
from stablequant.data.conditions import parse
from stablequant.data.speech import Speech
from stablequant.data.splits import fingerprint, make_splits
from stablequant.data.traits import traits
from stablequant.data.utterance import SPLITS, Utterance, unlabelled
from stablequant.errors import ModelError, SettingsError
from stablequant.families.frontend import Frontend
from stablequant.heads.head import Answer
from stablequant.jobs.conditions import evaluate_conditions
from stablequant.jobs.open import Opened, open_model, open_plan
from stablequant.jobs.pieces import lengths, whole
from stablequant.jobs.speech import decode
from stablequant.network.backend import Backend
from stablequant.progress import Progress, silent
from stablequant.quantize.simulate import Simulator
from stablequant.runtime.processor import machine
from stablequant.runtime.transcribe import transcribe
from stablequant.settings import Settings
from stablequant.tasks.breakdown import breakdown
from stablequant.tasks.fidelity import Divergence, divergence, divergence_score, figures
from stablequant.tasks.score import Score
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
    conditions: str = "",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Score ``model`` on one split of ``sources``.

    Recordings longer than the model copes with are cut into pieces, and what is said in all of them is scored together.

    Args:
        model: Folder or hub id.
        sources: Manifests, folders or ``hf:`` data sets. Where none has a text, what the float model says stands in its place.
        split: "calibration", "dev", "test", or "all": every utterance.
        given: Settings that the user gave. All others are those of the model's plan, if it has one: the same division into
            splits, and the same idea of what the same word is.
        simulate: Run the plan in simulation instead of the int8 files.
        checkpoint: Where the float checkpoint of the plan is now; default: where it was.
        runtime: That runs the int8 files; default: by the files, what is installed, and the processor.
        conditions: Under which the speech is evaluated as well, split by commas, see `data.conditions`; int8 files are compared
            with the float model then, if its checkpoint is at hand.
        progress: Told what is running.

    Raises:
        SettingsError: There is no such split or condition, or the settings would divide the speech otherwise than the plan's
            search did.
        ModelError: The speech has no text, and there is no float checkpoint to compare with.
    """
    if split not in (*SPLITS, "all"):
        what = f"--split {split}"
        raise SettingsError(what, expected=f"one of {', '.join(SPLITS)}, all")
    wanted = parse(conditions) if conditions else ()
    language = Settings().updated(**(given or {})).data.language
    plain = open_model(model, simulate=simulate, checkpoint=checkpoint, runtime=runtime, language=language)
    opened = plain.given(given or {})
    settings = opened.settings
    _same_division(opened, settings, split)
    utterances = manifest.load(sources)
    task = task_of(settings.data).suited(utterances)
    settings = settings.updated(**task.decided())
    chosen = _chosen(opened, utterances, split, settings.data.seed)
    frontend, reference, said = opened.frontend, None, None
    if bare := unlabelled(utterances):
        reference = float_of(opened, model, checkpoint)
    else:  # what has no text beside others serves calibration alone
        chosen = [u for u in chosen if u.text is not None]
        if wanted and opened.plan is not None:
            reference = _float_at_hand(opened, model, checkpoint)
    speech = decode(frontend, task, {split: chosen}, settings, longest=None)[split]
    limits = lengths(frontend.bounds, settings.data)
    pieces, owners = speech.in_pieces(limits.piece, settings.data.batch_size, limits.batch)
    fidelity = {}
    if bare and reference is not None:
        answers, distance = against_float(frontend, reference, opened.backend, pieces, progress)
        texts, fidelity = whole(answers, owners), figures(distance)
        speech = speech.with_texts([a.text for a in texts])
        said = evaluate_answers(task, speech.utterances, texts)
    elif reference is not None:
        texts = whole(transcribe(frontend, reference, pieces, progress, "float"), owners)
        said = evaluate_answers(task, speech.utterances, texts)
    ours = whole(transcribe(frontend, opened.backend, pieces, progress), owners)
    result = evaluate_answers(task, speech.utterances, ours)
    counts = [owners.count(i) for i in range(len(speech.utterances))]
    own = "float" if opened.plan is None else "int8"
    systems = ({"float": reference} if reference else {}) | {own: opened.backend}
    clean = ({"float": said} if said else {}) | {own: result}
    return {
        "model": model,
        "runtime": opened.runtime,
        "data": list(sources),
        "split": split,
        "normalizer": settings.data.normalizer,
        **result.figures,
        **fidelity,
        "cut_off": sum(a.truncated for a in result.answers),
        "repeats": sum(a.looping for a in result.answers),
        "in_pieces": sum(count > 1 for count in counts),
        "skipped": dict(speech.skipped),
        "notes": [list(note) for note in speech.notes],
        "machine": machine(),
        **breakdown(task, traits(speech), result, said),
        "conditions": evaluate_conditions(
            frontend, systems, task, speech, wanted, settings, clean=clean, progress=progress
        ),
        "transcripts": [
            {
                "id": u.id,
                "reference": u.text,
                "hypothesis": a.text,
                "cut_off": a.truncated,
                "repeats": a.looping,
                "pieces": count,
            }
            for u, a, count in zip(result.examples, result.answers, counts, strict=True)
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


def said_by(frontend: Frontend, reference: Backend, speech: Speech, progress: Progress = silent) -> Speech:
    """The same speech with what ``reference`` makes of it in the place of its text."""
    return speech.with_texts([a.text for a in transcribe(frontend, reference, speech, progress)])


def float_of(opened: Opened, model: str | Path, checkpoint: str = "") -> Backend:
    """The float model that ``opened`` was made from, whose transcripts stand in the place of a text that nobody wrote.

    Raises:
        ModelError: ``opened`` is that model itself, or its checkpoint is not at hand.
    """
    compared = "the speech has no text, so a model is compared with its float checkpoint"
    if opened.plan is None:
        what = f"{compared}, which {model} is itself"
        raise ModelError(what, expected="a folder that quantize wrote", fix="give one, or speech with its text")
    try:
        loaded = opened.checkpoint or open_plan(Path(model), checkpoint)[1]
    except ModelError as error:
        what = f"{compared}, which cannot be loaded: {error.what}"
        fix = "say where the float checkpoint is now with --checkpoint, or give speech with its text"
        raise ModelError(what, expected=error.expected, fix=fix) from error
    return Simulator(loaded).backend({})


def _float_at_hand(opened: Opened, model: str, checkpoint: str) -> Backend | None:
    """The float model that ``opened`` was made from; ``None`` where its checkpoint is not, unless that was named."""
    try:
        return Simulator(opened.checkpoint or open_plan(Path(model), checkpoint)[1]).backend({})
    except ModelError:
        if checkpoint:
            raise
        return None


def against_float(
    frontend: Frontend, reference: Backend, backend: Backend, speech: Speech, progress: Progress = silent
) -> tuple[list[Answer], Score]:
    """What the float model that ``reference`` runs says, and how far the outputs of ``backend`` diverge from its."""
    answers: dict[int, Answer] = {}
    found: dict[int, Divergence] = {}
    title, head = "divergence from float", frontend.head
    progress(title, 0, len(speech.batches))
    for done, batch in enumerate(speech.batches, 1):
        features = frontend.features(speech.waveforms_of(batch))
        outputs = frontend.encode(reference, features)
        said = head.read(reference, outputs, features.sizes)
        theirs = head.logits(reference, outputs, said)
        ours = head.logits(backend, frontend.encode(backend, features), said)
        answers.update(zip(batch, said, strict=True))
        found.update(zip(batch, map(divergence, theirs, ours), strict=True))
        progress(title, done, len(speech.batches))
    order = range(len(speech.utterances))
    ids = [u.id for u in speech.utterances]
    return [answers[i] for i in order], divergence_score(ids, [found[i] for i in order])


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
