"""Likeness: words unlike the float model's. What can be counted on speech of which nobody wrote down what is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stablequant.data.utterance import Utterance, unlabelled
from stablequant.errors import DataError
from stablequant.heads.head import Answer, Head
from stablequant.tasks.asr import Counts, align
from stablequant.tasks.bootstrap import bootstrap
from stablequant.tasks.recognition import MOST_EMPTY, Recognition
from stablequant.tasks.rules import AUTO, Rules, resolve
from stablequant.tasks.score import Score
from stablequant.tasks.task import Task, task, task_of


@task("likeness")
@dataclass(frozen=True)
class Likeness(Recognition):
    """Transcripts against the float model's, which stand in the place of the text (`Speech.with_texts`); see `Task`.

    That is no error rate: a word may differ from the float model's and be right.
    """

    @property
    def metric(self) -> str:
        """Word difference, or character difference where words are not set apart."""
        return _metric(self.rules_for(()))

    def suited(self, examples: Sequence[Utterance]) -> Task:
        """On speech with text, `Recognition`: its errors can be counted."""
        if unlabelled(examples):
            return self
        return task_of(self.settings.model_copy(update={"task": "recognition"})).suited(examples)

    def decided(self) -> dict[str, Any]:
        """This task itself."""
        return {"task": "likeness"}

    def refuse(self, examples: Sequence[Utterance], head: Head) -> Mapping[str, str]:
        """Nothing: the model wrote what its answers are compared with."""
        return {}

    def score(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> Score:
        """Words unlike the float model's; where it says nothing, its silence counts as one."""
        rows, metric = self._aligned(examples, answers)
        return _score(metric, examples, rows)

    def figures(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> dict[str, Any]:
        """Differences in per cent, the interval of the first, and counts."""
        rows, metric = self._aligned(examples, answers)
        interval = bootstrap(_score(metric, examples, rows))
        edits, characters = sum(r.character_edits for r in rows), sum(r.characters for r in rows)
        return {
            "metric": metric,
            "rate": round(interval.rate, 4),
            "rate_interval": [round(interval.low, 4), round(interval.high, 4)],
            "character_difference": round(100 * edits / max(1, characters), 4),
            "normalizer": self.rules_for(()).normalizer,
            "utterances": len(rows),
            **{name: sum(getattr(r, name) for r in rows) for name in Counts._fields},
            "empty": sum(r.words > 0 and r.words - r.deletions + r.insertions == 0 for r in rows),
        }

    def doubts(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> list[str]:
        """Most transcripts are empty, or had to be cut off."""
        found = []
        for count, what in (
            (sum(not a.text.strip() for a in answers), "empty"),
            (sum(a.truncated for a in answers), "cut off at the length limit"),
        ):
            if count > MOST_EMPTY * len(answers):
                found.append(f"{count} of {len(answers)} transcripts are {what}")
        return found

    def rules_for(self, references: Sequence[str]) -> Rules:
        """Both sides are of one model, which writes a word in one way: only rules that a user named forgive more."""
        name: str = self.settings.normalizer
        if name == AUTO:
            name = resolve(AUTO, self.settings.language).normalizer
        return resolve(name, self.settings.language, references)

    def _aligned(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> tuple[list[Counts], str]:
        references = [u.text for u in examples if u.text is not None]
        if len(references) < len(examples):
            what = f"{len(examples) - len(references)} of {len(examples)} utterances have no text to compare with"
            fix = "put the float model's transcripts there, or judge by divergence (sq.Divergence)"
            raise DataError(what, expected="the float model's transcripts in the place of the text", fix=fix)
        rules = self.rules_for(references)
        return align(rules, references, [a.text for a in answers]), _metric(rules)


def _metric(rules: Rules) -> str:
    return f"{rules.unit} difference"


def _score(metric: str, examples: Sequence[Utterance], rows: Sequence[Counts]) -> Score:
    by_character = metric == "character difference"
    errors = [r.character_edits if by_character else r.substitutions + r.deletions + r.insertions for r in rows]
    units = [max(1, r.characters if by_character else r.words) for r in rows]
    finer = [] if by_character else [r.character_edits for r in rows]
    return Score(
        metric,
        tuple(u.id for u in examples),
        tuple(map(float, errors)),
        tuple(map(float, units)),
        tuple(map(float, finer)),
    )
