"""Word and character error rates, counted utterance by utterance.

One rich result is computed and kept; every number is derived from it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from stablequant.errors import DataError
from stablequant.tasks import normalize
from stablequant.tasks.score import Score

_COUNTS = ("words", "substitutions", "deletions", "insertions", "characters", "character_edits")


@dataclass(frozen=True)
class EvaluationResult:
    """Transcripts and their errors. All tuples have one entry an utterance, in the same order.

    Attributes:
        ids: Of the utterances.
        references: As given, before normalisation.
        hypotheses: As given, before normalisation.
        normalizer: Name of the normaliser that both went through before counting.
        words: Words in the reference.
        substitutions: Words replaced.
        deletions: Words left out.
        insertions: Words added.
        characters: Characters in the reference, spaces between words included.
        character_edits: Characters replaced, left out or added.

    Raises:
        DataError: If the tuples differ in length, or no reference has a word.
    """

    ids: tuple[str, ...]
    references: tuple[str, ...]
    hypotheses: tuple[str, ...]
    normalizer: str
    words: tuple[int, ...]
    substitutions: tuple[int, ...]
    deletions: tuple[int, ...]
    insertions: tuple[int, ...]
    characters: tuple[int, ...]
    character_edits: tuple[int, ...]

    def __post_init__(self) -> None:
        """Hold that the counts belong together and that error rates exist."""
        names = ("ids", "references", "hypotheses", *_COUNTS)
        lengths = {name: len(getattr(self, name)) for name in names}
        if len(set(lengths.values())) > 1:
            what = f"The lists differ in length: {lengths}"
            raise DataError(what, expected="one entry an utterance in each")
        if not sum(self.words):
            what = f"None of {len(self.ids)} references has a word after the normaliser {self.normalizer!r}"
            raise DataError(what, expected="transcripts with words")

    @property
    def edits(self) -> tuple[int, ...]:
        """Word errors of each utterance: substitutions + deletions + insertions."""
        return tuple(map(sum, zip(self.substitutions, self.deletions, self.insertions, strict=True)))

    @property
    def hypothesis_words(self) -> tuple[int, ...]:
        """Words in each hypothesis after normalisation."""
        rows = zip(self.words, self.deletions, self.insertions, strict=True)
        return tuple(words - deleted + inserted for words, deleted, inserted in rows)

    @property
    def counts(self) -> dict[str, int]:
        """The totals over all utterances: words, substitutions, deletions, and so on."""
        return {name: sum(getattr(self, name)) for name in _COUNTS}

    @property
    def total_words(self) -> int:
        """Words in all references."""
        return sum(self.words)

    @property
    def wer(self) -> float:
        """Word error rate in per cent: all edits over all reference words."""
        return 100 * sum(self.edits) / sum(self.words)

    @property
    def cer(self) -> float:
        """Character error rate in per cent: all character edits over all reference characters."""
        return 100 * sum(self.character_edits) / sum(self.characters)

    @property
    def score(self) -> Score:
        """Word errors, and character errors to decide between equal ones."""
        return Score(
            "WER",
            self.ids,
            tuple(map(float, self.edits)),
            tuple(map(float, self.words)),
            tuple(map(float, self.character_edits)),
        )

    @property
    def empty(self) -> int:
        """How many hypotheses have no word where the reference has one."""
        rows = zip(self.words, self.hypothesis_words, strict=True)
        return sum(1 for reference, hypothesis in rows if reference and not hypothesis)

    def to_json(self) -> str:
        """Return all fields as one JSON object."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the result that `to_json` wrote.

        Raises:
            DataError: If ``text`` is not such an object.
        """
        try:
            row: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in json.loads(text).items()
            }
            return cls(**row)
        except (json.JSONDecodeError, TypeError, AttributeError) as error:
            what = f"This is not an evaluation result: {error}"
            raise DataError(what, expected=f"an object with {', '.join(cls.__dataclass_fields__)}") from error


def evaluate(
    ids: Sequence[str], references: Sequence[str], hypotheses: Sequence[str], normalizer: str = "english"
) -> EvaluationResult:
    """Count the errors of ``hypotheses`` against ``references`` after normalising both.

    Errors are those of a minimal Levenshtein alignment, from jiwer. Where a reference normalises to nothing,
    all words of the hypothesis are insertions.

    Raises:
        DataError: If the lists differ in length, or no reference has a word.
        SettingsError: If there is no such normaliser.
    """
    import jiwer

    clean = normalize.get(normalizer)
    rows = []
    # Utterance by utterance: jiwer's totals over a list would hide whose errors they are. A length mismatch
    # is EvaluationResult's to tell, hence not strict.
    for reference, hypothesis in zip(map(clean, references), map(clean, hypotheses), strict=False):
        words = jiwer.process_words(reference, hypothesis)
        letters = jiwer.process_characters(reference, hypothesis)
        rows.append(
            (
                words.hits + words.substitutions + words.deletions,
                words.substitutions,
                words.deletions,
                words.insertions,
                letters.hits + letters.substitutions + letters.deletions,
                letters.substitutions + letters.deletions + letters.insertions,
            )
        )
    counts: Iterable[tuple[int, ...]] = zip(*rows, strict=True) if rows else [()] * len(_COUNTS)
    return EvaluationResult(tuple(ids), tuple(references), tuple(hypotheses), normalizer, *counts)
