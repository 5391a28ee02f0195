"""Errors on the first word of a recording, on its last, and elsewhere: what loses the ends of clips shows here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stablequant.tasks.rules import Rules


class Edges(NamedTuple):
    """Of one recording; words are characters in text without spaces.

    Attributes:
        words: Said in it.
        first: 1 if its first word is lost or wrong.
        last: 1 if its last word is. Where there is one word alone, it is the first and not the last.
        elsewhere: Words between them that are lost, wrong or added.
        before: Words added before the first.
        after: Words added behind the last.
    """

    words: int
    first: int
    last: int
    elsewhere: int
    before: int
    after: int


def edges(rules: Rules, references: Sequence[str], hypotheses: Sequence[str]) -> list[Edges]:
    """Of each pair, both normalised, by the same minimal alignment as `asr.align`.

    Of several alignments with as few errors jiwer gives one; a word that is said twice may be taken for either.
    """
    import jiwer

    found = []
    for pair in zip(map(rules.clean, references), map(rules.clean, hypotheses), strict=True):
        spaced = (" ".join(text.replace(" ", "")) for text in pair) if rules.unit == "character" else pair
        aligned = jiwer.process_words(*spaced)
        words = len(aligned.references[0])
        wrong: set[int] = set()
        before = after = inside = 0
        for chunk in aligned.alignments[0]:
            if chunk.type in ("substitute", "delete"):
                wrong.update(range(chunk.ref_start_idx, chunk.ref_end_idx))
            elif chunk.type == "insert":
                added = chunk.hyp_end_idx - chunk.hyp_start_idx
                if chunk.ref_start_idx >= words:  # also where nothing is said
                    after += added
                elif chunk.ref_start_idx == 0:
                    before += added
                else:
                    inside += added
        first, last = int(0 in wrong), int(words > 1 and words - 1 in wrong)
        found.append(Edges(words, first, last, len(wrong) - first - last + inside, before, after))
    return found
