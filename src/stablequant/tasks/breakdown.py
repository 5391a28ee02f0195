"""Where errors are: by what sets recordings apart, at the ends of clips, and the recordings that got worst.

All of it is JSON: lists of rows, each with its label. Docs: docs/summary.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stablequant.data.traits import Traits
from stablequant.tasks.asr import Counts
from stablequant.tasks.bootstrap import bootstrap, paired_bootstrap
from stablequant.tasks.edges import Edges
from stablequant.tasks.recognition import Recognition
from stablequant.tasks.score import Score
from stablequant.tasks.task import Evaluation, Task

#: A bucket with fewer words says little, and says so.
FEWEST_UNITS = 100
#: Speakers with a bucket of their own, those with most words first.
MOST_SPEAKERS = 20
#: Recordings that got worse, at most.
WORST = 20
#: Draws of a bucket's interval: its ends lie within a tenth of its width.
DRAWS = 2000
#: Ends of buckets.
SECONDS, LOUDNESS, NOISE = (2.0, 5.0, 10.0, 20.0), (-40.0, -30.0, -20.0), (10.0, 20.0, 30.0, 40.0)
UNKNOWN, OTHERS = "unknown", "others"


def breakdown(
    task: Task, traits: Sequence[Traits], result: Evaluation, reference: Evaluation | None = None
) -> dict[str, Any]:
    """Where ``result`` errs, and by how much more than ``reference`` on the same recordings.

    Args:
        task: That scored both.
        traits: Of the recordings.
        result: Of the model that is looked at.
        reference: Of the float model; ``None``: it is not compared.

    Returns:
        ``fewest_units``; ``buckets``, by trait a list of rows; ``edges`` (of transcripts) and ``regressions``, which are empty
        where there is nothing to say.
    """
    counts = task.counts(result.examples, result.answers) if isinstance(task, Recognition) else None
    buckets = {
        name: [_bucket(label, some, counts, result, reference) for label, some in groups.items()]
        for name, groups in _groups(traits, result.score).items()
    }
    return {
        "fewest_units": FEWEST_UNITS,
        "buckets": buckets,
        "edges": _edges(task, result, reference),
        "regressions": [] if reference is None else regressions(result, reference),
    }


def regressions(result: Evaluation, reference: Evaluation, most: int = WORST) -> list[dict[str, Any]]:
    """The recordings on which ``result`` errs most beyond ``reference``, the worst first; at most ``most``."""
    rows: list[dict[str, Any]] = [
        {
            "id": example.id,
            "audio": str(example.audio) if isinstance(example.audio, Path) else None,
            "text": example.text,
            "float": said.text,
            "int8": answer.text,
            "float_errors": before,
            "int8_errors": after,
        }
        for example, said, answer, before, after in zip(
            result.examples, reference.answers, result.answers, reference.score.errors, result.score.errors, strict=True
        )
        if after > before
    ]
    return sorted(rows, key=lambda r: (r["float_errors"] - r["int8_errors"], r["id"]))[:most]


def _groups(traits: Sequence[Traits], score: Score) -> dict[str, dict[str, list[int]]]:
    """Recordings by trait and label; the labels of numbers ascend."""
    by_number: dict[str, tuple[Callable[[Traits], float | None], Sequence[float], str]] = {
        "duration": (lambda t: t.seconds, SECONDS, "s"),
        "loudness": (lambda t: t.loudness, LOUDNESS, "dB"),
        "signal_to_noise": (lambda t: t.noise, NOISE, "dB"),
    }
    found: dict[str, dict[str, list[int]]] = {}
    for name, (value, ends, unit) in by_number.items():
        labels = [*_labels(ends, unit), UNKNOWN]
        groups: dict[str, list[int]] = {label: [] for label in labels}
        for i, trait in enumerate(traits):
            number = value(trait)
            groups[UNKNOWN if number is None else labels[sum(number >= end for end in ends)]].append(i)
        found[name] = {label: some for label, some in groups.items() if some}
    found["set"] = _by_name([t.set_name or UNKNOWN for t in traits], score)
    found["speaker"] = _by_name([t.speaker or UNKNOWN for t in traits], score)
    return found


def _labels(ends: Sequence[float], unit: str) -> list[str]:
    between = [f"{low:g} to {high:g} {unit}" for low, high in zip(ends, ends[1:], strict=False)]
    return [f"below {ends[0]:g} {unit}", *between, f"{ends[-1]:g} {unit} and more"]


def _by_name(names: Sequence[str], score: Score) -> dict[str, list[int]]:
    """Those with most to count first; all beyond `MOST_SPEAKERS` together."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        groups[name].append(i)
    order = sorted(groups, key=lambda name: (-sum(score.units[i] for i in groups[name]), name))
    kept = {name: groups[name] for name in order[:MOST_SPEAKERS]}
    rest = sorted(i for name in order[MOST_SPEAKERS:] for i in groups[name])
    return kept | ({OTHERS: rest} if rest else {})


def _bucket(
    label: str, some: Sequence[int], counts: Sequence[Counts] | None, result: Evaluation, reference: Evaluation | None
) -> dict[str, Any]:
    """One row: what is counted, the rate, and the difference to the reference where there is one."""
    units = sum(result.score.units[i] for i in some)
    row: dict[str, Any] = {"bucket": label, "utterances": len(some), "units": units, "few": units < FEWEST_UNITS}
    if counts is not None:
        kinds = ("substitutions", "deletions", "insertions")
        row |= {name: sum(getattr(counts[i], name) for i in some) for name in kinds}
    if units:
        theirs = None if reference is None else reference.score.part(some)
        row |= rated(result.score.part(some), theirs, DRAWS)
    return row


def rated(score: Score, reference: Score | None, draws: int = 10_000) -> dict[str, Any]:
    """A rate and, beside a reference, its own and the difference, each with its interval."""
    interval = bootstrap(score, draws)
    row: dict[str, Any] = {
        "rate": round(interval.rate, 4),
        "rate_interval": [round(interval.low, 4), round(interval.high, 4)],
    }
    if reference is not None:
        difference = paired_bootstrap(reference, score, draws)
        row["float_rate"] = round(reference.rate, 4)
        row["delta"] = round(difference.delta, 4)
        row["delta_interval"] = [round(difference.low, 4), round(difference.high, 4)]
    return row


def _edges(task: Task, result: Evaluation, reference: Evaluation | None) -> dict[str, Any]:
    """Errors on first words, on last words and elsewhere, as rates of such words; what was added before and behind them."""
    if not isinstance(task, Recognition):
        return {}
    ours = task.edges(result.examples, result.answers)
    theirs = None if reference is None else task.edges(reference.examples, reference.answers)
    ids = result.score.ids
    units = {
        "first": [float(e.words > 0) for e in ours],
        "last": [float(e.words > 1) for e in ours],
        "elsewhere": [float(max(0, e.words - 2)) for e in ours],
    }
    found: dict[str, Any] = {}
    for name, counted in units.items():
        if not sum(counted):
            continue

        def score(rows: Sequence[Edges], name: str = name, counted: Sequence[float] = counted) -> Score:
            return Score(name, ids, tuple(float(getattr(r, name)) for r in rows), tuple(counted))

        errors = sum(getattr(e, name) for e in ours)
        beside = None if theirs is None else score(theirs)
        found[name] = {"words": int(sum(counted)), "errors": errors} | rated(score(ours), beside, DRAWS)
    for name in ("before", "after"):
        found[f"added_{name}"] = _both(name, ours, theirs)
    return found


def _both(name: str, ours: Sequence[Edges], theirs: Sequence[Edges] | None) -> Mapping[str, int]:
    found = {"words": sum(getattr(e, name) for e in ours)}
    return found if theirs is None else found | {"float_words": sum(getattr(e, name) for e in theirs)}
