"""A model under conditions, int8 beside float: what each recognises, by how much int8 loses more, and what is alarming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stablequant.data.conditions import Condition, apply
from stablequant.data.speech import Speech
from stablequant.data.traits import traits
from stablequant.families.frontend import Frontend
from stablequant.heads.head import Answer
from stablequant.jobs.pieces import lengths, whole
from stablequant.network.backend import Backend
from stablequant.progress import Progress, silent
from stablequant.runtime.transcribe import transcribe
from stablequant.settings import Settings
from stablequant.tasks.breakdown import breakdown, rated
from stablequant.tasks.score import Score
from stablequant.tasks.task import Evaluation, Task
from stablequant.tasks.task import evaluate as evaluate_answers

#: The kind of speech in which nothing is said.
SILENCE = "silence"


def evaluate_conditions(
    frontend: Frontend,
    systems: Mapping[str, Backend],
    task: Task,
    speech: Speech,
    conditions: Sequence[Condition],
    settings: Settings,
    *,
    clean: Mapping[str, Evaluation],
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """One row a condition, as docs/conditions.md has it.

    Args:
        frontend: Of the model.
        systems: "float", "int8", or both: the same model, run in two ways.
        task: Scores answers.
        speech: Clean, with what answers are compared with in the place of the text.
        conditions: In the order of the rows.
        settings: Give the seed and the size of batches.
        clean: What the systems make of ``speech`` as it is.
        progress: Told what is running.
    """
    data, rows = settings.data, []
    for condition in conditions:
        changed = apply(condition, speech, data.seed, data.batch_size, data.batch_seconds)
        found = dict(clean)
        if condition.kind != "clean":
            answers = {
                name: answer_whole(frontend, backend, changed, settings, progress, f"{condition.name}, {name}")
                for name, backend in systems.items()
            }
            found = {
                name: _in_silence(changed, some)
                if condition.kind == SILENCE
                else evaluate_answers(task, changed.utterances, some)
                for name, some in answers.items()
            }
        rows.append(_row(condition, changed, task, found))
    return rows


def answer_whole(
    frontend: Frontend, backend: Backend, speech: Speech, settings: Settings, progress: Progress, title: str
) -> tuple[Answer, ...]:
    """One answer a recording; those longer than the model copes with are cut, and the texts of their pieces joined."""
    limits = lengths(frontend.bounds, settings.data)
    pieces, owners = speech.in_pieces(limits.piece, settings.data.batch_size, limits.batch)
    return whole(transcribe(frontend, backend, pieces, progress, title), owners)


def _in_silence(speech: Speech, answers: Sequence[Answer]) -> Evaluation:
    """Where nothing is said every word is an error, and there are no words to count it against: minutes are."""
    minutes = tuple(len(w) / speech.sampling_rate / 60 for w in speech.waveforms)
    words = tuple(float(len(a.text.split())) for a in answers)
    score = Score("words a minute", tuple(u.id for u in speech.utterances), words, minutes, factor=1.0)
    figures = {"words": int(sum(words)), "with_words": sum(w > 0 for w in words)}
    return Evaluation(speech.utterances, tuple(answers), score, figures)


def _row(condition: Condition, speech: Speech, task: Task, found: Mapping[str, Evaluation]) -> dict[str, Any]:
    """What is told of one condition."""
    reference, silence = found.get("float"), condition.kind == SILENCE
    row: dict[str, Any] = {
        "condition": condition.name,
        "about": condition.about,
        "utterances": len(speech.utterances),
        "seconds": round(speech.seconds, 1),
        "float": None,
        "int8": None,
    }
    alarms: list[str] = []
    for name, evaluation in found.items():
        beside = None if name == "float" or reference is None else reference.score
        cut_off = sum(a.truncated for a in evaluation.answers)
        row[name] = {"metric": evaluation.score.metric, **evaluation.figures, "cut_off": cut_off}
        row[name] |= rated(evaluation.score, beside)
        if silence and evaluation.figures["with_words"]:
            alarms.append(f"{name}: {evaluation.figures['with_words']} of {len(speech.utterances)} silences have words")
    last = found.get("int8", reference)
    if not silence and reference is not None and last is not None and last is not reference:
        alarms += [f"int8: {text}" for text in task.alarms(last.answers, reference.answers, "float")]
    row["alarms"] = alarms
    if silence or last is None:
        return row
    return row | breakdown(task, traits(speech), last, None if last is reference else reference)
