"""Transcripts that a character model could never write, found before hours are spent on scoring against them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from stablequant.data.utterance import Utterance
from stablequant.errors import VocabularyError


def check_vocabulary(
    utterances: Sequence[Utterance], alphabet: Collection[str], max_bad_fraction: float
) -> dict[str, str]:
    """Ids of the utterances whose transcripts hold letters outside a CTC model's ``alphabet``, each with the reason.

    Case, digits, punctuation and accents that the normaliser may remove are not held against a transcript: only
    letters without any counterpart are.

    Raises:
        VocabularyError: They are more than ``max_bad_fraction``; names the letters, an utterance, and the fix.
    """
    known = {c.casefold() for token in alphabet if len(token) == 1 for c in token}
    bad = {u.id: found for u in utterances if (found := _strange(u.text, known))}
    if len(bad) > max_bad_fraction * len(utterances):
        first = next(u for u in utterances if u.id in bad)
        letters = "".join(sorted(set().union(*bad.values())))[:40]
        what = (
            f"{len(bad)} of {len(utterances)} transcripts hold letters that the model cannot write ({letters}), "
            f"as {first.id} ({first.source}): {first.text[:60]!r}"
        )
        raise VocabularyError(
            what,
            expected=f"text in the model's alphabet ({''.join(sorted(known))})",
            fix="use speech in the model's language, or spell the transcripts in its alphabet",
        )
    return {
        u.id: f"{u.name} has letters in its transcript that the model cannot write ({''.join(sorted(bad[u.id]))})"
        for u in utterances
        if u.id in bad
    }


def _strange(text: str, known: set[str]) -> set[str]:
    import unicodedata

    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return {c for c in plain.casefold() if c.isalpha() and c not in known} - {c for c in text.casefold() if c in known}
