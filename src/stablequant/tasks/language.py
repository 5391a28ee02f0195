"""What language a text may be in, told from its letters and words alone: English or not, spaces or none."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

from stablequant.tasks.frequent_words import ENGLISH, OTHERS
from stablequant.tasks.normalize import basic

#: Scripts that put no space between words, by the words that their characters' Unicode names begin with.
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR")

#: Largest share of letters in other scripts that English may hold: a Greek letter, a name.
_FOREIGN = 0.1
#: Smallest share of words that must be frequent English ones. They are half of the words of talk, a third of those of
#: terse prompts, and a tenth by accident in languages of whose words there is no list.
_SHARE = 0.2
#: Share of words that names of another language may be. In Turkish text one word in five has a dotless i.
_NAMES = 0.02
#: Letters, with apostrophes between them.
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def is_english(texts: Iterable[str]) -> bool:
    """Whether ``texts``, taken together, are English.

    They are if nearly all letters are Latin, and frequent English words are more than the frequent words of any other
    language and the words with diacritics together. If nothing tells, they are not: English rules spoil other languages
    ("um" is a word in German and in Portuguese), while rules for any language are merely stricter with English.
    """
    text = basic(" ".join(texts))
    letters = _scripts(text)
    if letters["LATIN"] < (1 - _FOREIGN) * letters.total():
        return False
    words: Counter[str] = Counter()
    accented = 0
    for word, count in Counter(_WORD.findall(text)).items():
        plain = _without_marks(word)
        words[plain] += count
        accented += count * (plain != word)
    english = _found(words, ENGLISH)
    other = max(_found(words, known) for known in OTHERS.values())
    return english > other + accented and english >= _SHARE * words.total()


def is_unspaced(texts: Iterable[str]) -> bool:
    """Whether most letters of ``texts`` are of scripts that put no space between words."""
    letters = _scripts(" ".join(texts))
    return 2 * sum(letters[script] for script in UNSPACED) > letters.total()


def has_dotless_i(texts: Iterable[str]) -> bool:
    """Whether ı or İ, by which Turkish and Azerbaijani are known, are in more words of ``texts`` than names would be."""
    words = " ".join(texts).split()
    return sum("ı" in word or "İ" in word for word in words) > _NAMES * len(words)


def _scripts(text: str) -> Counter[str]:
    """How many letters of ``text`` each script has."""
    found: Counter[str] = Counter()
    for character, count in Counter(text).items():
        if script := _script(character):
            found[script] += count
    return found


@cache
def _script(character: str) -> str | None:
    """Script of a letter, or None for what is none. Python has no such property, but letters' names begin with it."""
    if not character.isalpha():
        return None
    first, *rest = unicodedata.name(character, "UNKNOWN").split()
    return rest[0] if first in ("FULLWIDTH", "HALFWIDTH") else first


def _found(words: Counter[str], known: frozenset[str]) -> int:
    return sum(count for word, count in words.items() if word in known)


def _without_marks(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
