"""Transcripts that a CTC model could never write, found before hours are spent on scoring against them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from stablequant.data.utterance import Utterance
from stablequant.errors import VocabularyError
from stablequant.tasks.normalize import compose

#: Tokens that stand for no text: <pad>, [UNK], <|endoftext|>.
_SPECIAL = re.compile(r"<.+>|\[.+\]", re.DOTALL)
#: One of these for each byte lets a tokenizer write anything.
_BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")
#: Letters of an alphabet that a message shows.
_SHOWN = 200


def check_vocabulary(
    utterances: Sequence[Utterance], alphabet: Collection[str], max_bad_fraction: float
) -> dict[str, str]:
    """Ids of the utterances whose transcripts hold letters outside a CTC model's ``alphabet``, each with the reason.

    A transcript fits if each word can be put together from tokens, of one character or several (phonemes, word
    pieces). Case, digits and punctuation do not count against it, nor do accents and other marks on letters that the
    alphabet has without: a normaliser may remove them.

    Args:
        utterances: What is to be checked.
        alphabet: All tokens of the model's tokenizer, special ones too.
        max_bad_fraction: Share of ``utterances`` that may be bad.

    Raises:
        VocabularyError: They are more; names the letters, an utterance, and the fix.
    """
    if sum(1 for token in alphabet if _BYTE.fullmatch(token)) == 256:
        return {}
    known = Alphabet.of(alphabet)
    strange = lru_cache(maxsize=100_000)(known.strange)
    found = {u.id: set().union(*map(strange, _fold(u.text).split())) for u in utterances if u.text is not None}
    bad = {key: _sample(letters) for key, letters in found.items() if letters}
    if len(bad) > max_bad_fraction * len(utterances):
        first = next(u for u in utterances if u.id in bad)
        what = (
            f"{len(bad)} of {len(utterances)} transcripts hold letters that the model cannot write "
            f"({_sample(set().union(*found.values()))}), as {first.id} ({first.source}): {(first.text or '')[:60]!r}"
        )
        raise VocabularyError(
            what,
            expected=f"text in the model's alphabet ({known})",
            fix="use speech in the model's language, or spell the transcripts in its alphabet",
        )
    return {
        u.id: f"{u.name} has letters in its transcript that the model cannot write ({bad[u.id]})"
        for u in utterances
        if u.id in bad
    }


@dataclass(frozen=True)
class Alphabet:
    """What a model can write.

    Attributes:
        tokens: Of one character or several, in one case and one form (`_fold`), special ones left out.
    """

    tokens: frozenset[str]

    @classmethod
    def of(cls, tokens: Collection[str]) -> Alphabet:
        """Return the alphabet of a tokenizer with these tokens; SentencePiece's sign for a space writes no letter."""
        plain = (_fold(token.replace("▁", " ")).strip() for token in tokens if not _SPECIAL.fullmatch(token))
        return cls(frozenset(token for token in plain if token))

    def __str__(self) -> str:
        """Letters side by side, longer tokens apart, cut short where they are many."""
        joined = ("" if self._longest <= 1 else " ").join(sorted(self.tokens))
        return joined if len(joined) <= _SHOWN else f"{joined[:_SHOWN]}..."

    def strange(self, word: str) -> frozenset[str]:
        """Letters that keep ``word`` from being put together: those in no token, or the first where none goes on.

        Args:
            word: Folded, without spaces.
        """
        outside = frozenset(c for c in set(word) if c not in self._letters and not self._forgiven(c))
        if outside or self._longest <= 1:
            return outside
        # reached[n]: the first n characters can be written.
        reached = bytearray([1]) + bytearray(len(word))
        for start in range(len(word)):
            if not reached[start]:
                continue
            if self._forgiven(word[start]):
                reached[start + 1] = 1
            for end in range(start + 1, min(start + self._longest, len(word)) + 1):
                if word[start:end] in self.tokens:
                    reached[end] = 1
        return frozenset() if reached[-1] else frozenset(word[reached.rfind(1)])

    @cached_property
    def _letters(self) -> frozenset[str]:
        return frozenset("".join(self.tokens))

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.tokens), default=0)

    def _forgiven(self, character: str) -> bool:
        """Whether a character needs no token of its own: it is no letter, or one with marks that can be left out."""
        if not character.isalpha():
            return True
        parts = [c for c in unicodedata.normalize("NFKD", character).casefold() if c.isalpha()]
        return parts != [character] and all(part in self.tokens for part in parts)


def _sample(letters: set[str]) -> str:
    return "".join(sorted(letters))[:40]


def _fold(text: str) -> str:
    """One case and one form. Which i is the small I depends on the language, so the dotless one counts as the other."""
    return compose(compose(text).replace("İ", "i").replace("ı", "i").casefold())
