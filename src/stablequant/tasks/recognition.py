"""Speech recognition: word errors after normalisation, character errors between equals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stablequant.data.utterance import Utterance, unlabelled
from stablequant.errors import DataError
from stablequant.heads.head import Answer, Head
from stablequant.settings import DataSettings
from stablequant.tasks.asr import Counts, EvaluationResult, align
from stablequant.tasks.asr import evaluate as count
from stablequant.tasks.bootstrap import bootstrap
from stablequant.tasks.edges import Edges, edges
from stablequant.tasks.rules import Rules, resolve
from stablequant.tasks.score import Score
from stablequant.tasks.task import Task, task, task_of
from stablequant.tasks.vocabulary import check_vocabulary

#: Share of transcripts that may be empty or cut off beyond the reference's.
ALARM_SHARE = 0.02
#: A float model with more empty transcripts than this share,
MOST_EMPTY = 0.5
#: or with a higher error rate in per cent, does not work: no search could say what costs words.
WORST_RATE = 90.0


@task("recognition")
@dataclass(frozen=True)
class Recognition:
    """Transcripts against what was said; see `Task`.

    Attributes:
        settings: Name the normaliser, and the share of transcripts that the model may be unable to write.
        rules: By which transcripts are compared; ``None``: decided by the references at hand.
    """

    settings: DataSettings
    rules: Rules | None = None

    @property
    def metric(self) -> str:
        """WER, or CER where words are not set apart."""
        return "CER" if self.rules and self.rules.unit == "character" else "WER"

    def suited(self, examples: Sequence[Utterance]) -> Task:
        """With rules for all of the references together; without any, the task called "likeness". See `Task.suited`."""
        if unlabelled(examples):
            return task_of(self.settings.model_copy(update={"task": "likeness"})).suited(examples)
        references = [u.text for u in examples if u.text is not None]
        return replace(self, rules=resolve(self.settings.normalizer, self.settings.written, references))

    def decided(self) -> dict[str, Any]:
        """The normaliser that the language asks for."""
        return {"normalizer": self.rules.normalizer} if self.rules else {}

    def refuse(self, examples: Sequence[Utterance], head: Head) -> Mapping[str, str]:
        """Transcripts with letters that the model cannot write.

        Raises:
            VocabularyError: They are more than ``max_bad_fraction``.
        """
        if head.alphabet is None:
            return {}
        return check_vocabulary(examples, head.alphabet, self.settings.max_bad_fraction)

    def result(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> EvaluationResult:
        """Errors utterance by utterance."""
        ids, references = [u.id for u in examples], [self._text(u) for u in examples]
        hypotheses = [a.text for a in answers]
        rules = self.rules or self.settings.normalizer
        return count(ids, references, hypotheses, rules, self.settings.written)

    def counts(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> list[Counts]:
        """What the alignment of each utterance counts."""
        references = [self._text(u) for u in examples]
        return align(self.rules_for(references), references, [a.text for a in answers])

    def edges(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> list[Edges]:
        """Errors of each utterance on its first word, on its last, and elsewhere."""
        references = [self._text(u) for u in examples]
        return edges(self.rules_for(references), references, [a.text for a in answers])

    def rules_for(self, references: Sequence[str]) -> Rules:
        """By which transcripts are compared with ``references``."""
        return self.rules or resolve(self.settings.normalizer, self.settings.written, references)

    @staticmethod
    def _text(example: Utterance) -> str:
        if example.text is None:
            what = f"{example.name} has no text ({example.source})"
            raise DataError(what, expected="what is said in it", fix="leave it out, or score speech without text alone")
        return example.text

    def score(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> Score:
        """Word errors."""
        return self.result(examples, answers).score

    def figures(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> dict[str, Any]:
        """Error rates in per cent, the interval of the first, and counts."""
        result = self.result(examples, answers)
        interval = bootstrap(result.score)
        ends = [round(interval.low, 4), round(interval.high, 4)]
        return {
            "metric": result.metric,
            "rate": round(interval.rate, 4),
            "rate_interval": ends,
            "wer": round(result.wer, 4),
            "wer_interval": ends if result.metric == "WER" else None,
            "cer": round(result.cer, 4),
            "words": result.total_words,
            "utterances": len(result.ids),
            **result.counts,
            "empty": result.empty,
        }

    def doubts(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> list[str]:
        """Most transcripts are empty, or nearly every word is wrong."""
        found = []
        empty = sum(not a.text.strip() and bool(self._text(u).strip()) for u, a in zip(examples, answers, strict=True))
        if empty > MOST_EMPTY * len(answers):
            found.append(f"{empty} of {len(answers)} transcripts are empty")
        score = self.score(examples, answers)
        if score.rate > WORST_RATE:
            found.append(f"{score.metric} is {score.rate:.0f} %")
        return found

    def alarms(self, answers: Sequence[Answer], reference: Sequence[Answer], name: str) -> list[str]:
        """Transcripts that are empty, or that had to be cut off, where those of ``name`` are not."""

        def empty(some: Sequence[Answer]) -> int:
            return sum(not a.text for a in some)

        def runaway(some: Sequence[Answer]) -> int:
            return sum(a.truncated for a in some)

        room = ALARM_SHARE * len(answers)
        found = []
        for number_of, what in ((empty, "empty"), (runaway, "cut off at the length limit (a runaway decoder)")):
            now, before = number_of(answers), number_of(reference)
            if now > before + room:
                found.append(f"{now} of {len(answers)} transcripts are {what}, {before} of {name}")
        return found
