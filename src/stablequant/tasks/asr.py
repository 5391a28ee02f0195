"""Word and character error rates, counted utterance by utterance.

One rich result is computed and kept; every number is derived from it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, get_args

import numpy as np

from stablequant.errors import DataError
from stablequant.files import json_value
from stablequant.tasks.rules import AUTO, Rules, Unit, resolve
from stablequant.tasks.score import Score


class Counts(NamedTuple):
    """What an alignment of one utterance counts; see `EvaluationResult`."""

    words: int
    substitutions: int
    deletions: int
    insertions: int
    characters: int
    character_edits: int


_COUNTS = Counts._fields
_SURROGATE = re.compile("[\ud800-\udfff]")


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
        characters: Characters in the reference. Spaces between words count if ``unit`` is "word", as in jiwer; if it
            is "character" they are left out, for the script has none and they come of punctuation alone.
        character_edits: Characters replaced, left out or added.
        unit: What errors are counted in: "word", or "character" for text without spaces.

    Raises:
        DataError: If the tuples differ in length, the unit is another, or no reference has a word.
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
    unit: Unit = "word"

    def __post_init__(self) -> None:
        """Hold that the counts belong together and that error rates exist."""
        names = ("ids", "references", "hypotheses", *_COUNTS)
        lengths = {name: len(getattr(self, name)) for name in names}
        if len(set(lengths.values())) > 1:
            what = f"The lists differ in length: {lengths}"
            raise DataError(what, expected="one entry an utterance in each")
        if self.unit not in get_args(Unit):
            what = f"The unit is {self.unit!r}"
            raise DataError(what, expected=f"one of {', '.join(get_args(Unit))}")
        if not sum(self.words):
            what = f"None of {len(self.ids)} references has a word after the normaliser {self.normalizer!r}"
            raise DataError(what, expected="transcripts with words")

    @property
    def metric(self) -> str:
        """Name of the error rate in the unit: "WER" or "CER"."""
        return "CER" if self.unit == "character" else "WER"

    @property
    def errors(self) -> tuple[int, ...]:
        """Errors of each utterance, in the unit."""
        return self.character_edits if self.unit == "character" else self.word_edits

    @property
    def units(self) -> tuple[int, ...]:
        """Words, or characters, in each reference."""
        return self.characters if self.unit == "character" else self.words

    @property
    def rate(self) -> float:
        """Error rate in per cent, by the unit: `wer` or `cer`."""
        return self.cer if self.unit == "character" else self.wer

    @property
    def edits(self) -> tuple[int, ...]:
        """The same as `errors`."""
        return self.errors

    @property
    def word_edits(self) -> tuple[int, ...]:
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
        return 100 * sum(self.word_edits) / sum(self.words)

    @property
    def cer(self) -> float:
        """Character error rate in per cent: all character edits over all reference characters."""
        return 100 * sum(self.character_edits) / sum(self.characters)

    @property
    def score(self) -> Score:
        """Errors in the unit; where that is the word, character errors decide between equal ones."""
        finer = self.character_edits if self.unit == "word" else ()
        return Score(
            self.metric,
            self.ids,
            tuple(map(float, self.errors)),
            tuple(map(float, self.units)),
            tuple(map(float, finer)),
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
                key: tuple(value) if isinstance(value, list) else value for key, value in json_value(text).items()
            }
            return cls(**row)
        except (ValueError, TypeError, AttributeError) as error:
            what = f"This is not an evaluation result: {error}"
            raise DataError(what, expected=f"an object with {', '.join(cls.__dataclass_fields__)}") from error


def evaluate(
    ids: Sequence[str],
    references: Sequence[str],
    hypotheses: Sequence[str],
    normalizer: str | Rules = AUTO,
    language: str | None = None,
) -> EvaluationResult:
    """Count the errors of ``hypotheses`` against ``references`` after normalising both.

    Errors are those of a minimal Levenshtein alignment, from jiwer and rapidfuzz. Where a reference normalises to
    nothing, all words of the hypothesis are insertions.

    Args:
        ids: Of the utterances.
        references: What was said.
        hypotheses: What was recognised.
        normalizer: Rules of comparison, or the name of a normaliser, or "auto" for the one that suits the language.
        language: ISO 639 code; None to tell it from ``references``. Without effect where rules are given.

    Raises:
        DataError: If the lists differ in length, something in them is no text, or no reference has a word.
        SettingsError: If there is no such normaliser or language.
    """
    for kind, texts in (("reference", references), ("hypothesis", hypotheses)):
        _check_texts(ids, kind, texts)
    rules = normalizer if isinstance(normalizer, Rules) else resolve(normalizer, language, references)
    rows = align(rules, references, hypotheses)
    counts: Any = zip(*rows, strict=True) if rows else [()] * len(_COUNTS)
    result = EvaluationResult(tuple(ids), tuple(references), tuple(hypotheses), rules.normalizer, *counts)
    return dataclasses.replace(result, unit=rules.unit)


def align(rules: Rules, references: Sequence[str], hypotheses: Sequence[str]) -> list[Counts]:
    """Counts of a minimal Levenshtein alignment of each pair, both normalised."""
    import jiwer
    from rapidfuzz.distance import Levenshtein

    rows = []
    # Utterance by utterance: totals over a list would hide whose errors they are. A length mismatch is
    # EvaluationResult's to tell, hence not strict.
    for pair in zip(map(rules.clean, references), map(rules.clean, hypotheses), strict=False):
        words = jiwer.process_words(*pair)
        reference, hypothesis = (text.replace(" ", "") for text in pair) if rules.unit == "character" else pair
        rows.append(
            Counts(
                words.hits + words.substitutions + words.deletions,
                words.substitutions,
                words.deletions,
                words.insertions,
                len(reference),
                Levenshtein.distance(reference, hypothesis),
            )
        )
    return rows


def wrong_words(rules: Rules, reference: str, hypothesis: str) -> list[bool]:
    """For each word of ``hypothesis``, as it stands, whether a minimal alignment has it wrong: substituted or inserted.

    Both are normalised word by word, so that a word stays a word; one that normalises to several is wrong if one of them is,
    and one that normalises to nothing is right.
    """
    import jiwer

    pieces = [rules.clean(word).split() for word in hypothesis.split()]
    said = " ".join(w for word in reference.split() for w in rules.clean(word).split())
    found = " ".join(w for piece in pieces for w in piece)
    if not said or not found:
        return [bool(piece) for piece in pieces]
    right = np.zeros(len(found.split()), bool)
    for chunk in jiwer.process_words(said, found).alignments[0]:
        if chunk.type == "equal":
            right[chunk.hyp_start_idx : chunk.hyp_end_idx] = True
    ends = np.cumsum([len(piece) for piece in pieces])
    return [not right[end - len(piece) : end].all() for piece, end in zip(pieces, ends, strict=True)]


def _check_texts(ids: Sequence[str], kind: str, texts: Sequence[str]) -> None:
    """Hold that all are strings of whole characters, which can be compared and written to a file."""
    for number, text in enumerate(texts):
        name = ids[number] if number < len(ids) else f"number {number}"
        if not isinstance(text, str):
            what = f"The {kind} of {name} is {text!r}, which is no text"
            raise DataError(what, expected="a string", fix="leave the utterance out, or write what is said in it")
        if surrogate := _SURROGATE.search(text):
            what = f"The {kind} of {name} holds {surrogate[0]!r}, half of a character in UTF-16"
            raise DataError(what, expected="whole characters", fix="write the text again as UTF-8")
