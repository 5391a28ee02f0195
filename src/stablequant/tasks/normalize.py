"""Named text normalisers: what counts as the same word when transcripts are compared.

The name is kept with every result, for an error rate means nothing without it. `rules` says which suits a language.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Callable
from importlib import resources

from stablequant.errors import SettingsError

Normalizer = Callable[[str], str]

#: What is typed, or set by software, for an apostrophe: quotes, modifier letters, primes, accents without a letter,
#: the full-width, the Armenian and the Hebrew one.
_APOSTROPHES = frozenset("'`´ʹʻʼʽ՚׳᾽᾿‘’‛′‵ꞌ＇")
#: What shows nothing, besides all characters of the categories control, format and surrogate: the ignorable marks and
#: letters of Unicode's DerivedCoreProperties.txt. The Arabic tatweel shows, but only stretches a word.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0\u0640") | {
    chr(code) for block in (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)) for code in block
}
#: Spellings that look the same and that Unicode's own forms keep apart. Malayalam: a bare consonant was a consonant,
#: virama and joiner before Unicode 5.1 (The Unicode Standard, table 12-36). Thai and Lao: the vowel am in two parts, as
#: NFKC leaves it, with its tone mark between.
_SAME = (
    *((re.compile(f"{old}\u0d4d\u200d"), new) for old, new in zip("ണനരലളക", "ൺൻർൽൾൿ", strict=True)),
    (re.compile("\u0e4d([\u0e48-\u0e4b]?)\u0e32"), "\\1\u0e33"),
    (re.compile("\u0ecd([\u0ec8-\u0ecb]?)\u0eb2"), "\\1\u0eb3"),
)
#: More marks on one letter than any language puts there; putting thousands in order takes time by their square. The
#: limit is that of the stream-safe format of Unicode Standard Annex 15.
_MARKS = re.compile(r"([^\w\s\x00-\x7f]{30})[^\w\s\x00-\x7f]+")


def compose(text: str) -> str:
    """Return Unicode's form NFC, which has one character for a letter and its marks wherever there is one."""
    return unicodedata.normalize("NFC", _MARKS.sub(r"\1", text))


def none(text: str) -> str:
    """Leave the words as they are; only runs of white space become single spaces."""
    return " ".join(text.split())


def basic(text: str) -> str:
    """Lower the case and drop punctuation and symbols, in any language; letters keep their marks.

    An apostrophe inside a word stays, for it tells "we're" from "were"; all its forms are one. Full-width letters,
    ligatures and other compatibility characters become plain ones. What is invisible goes, the joiners of Indic and
    Persian text too: they choose the shape of letters, are not heard, and are left out as often as written.
    """
    # Python lowers "İ" to an i and a dot above it, and so do the transcripts that many Turkish models learned from.
    return _words(_letters(text).replace("İ", "i").lower().replace("i\u0307", "i"))


def turkish(text: str) -> str:
    """Do as `basic`, but with the two pairs I, ı and İ, i of Turkish and Azerbaijani."""
    return basic(_letters(text).replace("I", "ı"))


def english(text: str) -> str:
    """Apply Whisper's English normaliser: case, punctuation, contractions, numbers, spelling, fillers.

    Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", appendix C. It knows straight
    apostrophes only, so the others are made straight first.
    """
    text = _closed(none("".join(map(_plain, compose(text)))))
    try:
        return none(_whisper()(text))
    except ValueError:  # Python refuses to read a number of thousands of digits, which nobody speaks.
        return basic(text)


NORMALIZERS: dict[str, Normalizer] = {"english": english, "basic": basic, "turkish": turkish, "none": none}


def get(name: str) -> Normalizer:
    """Return the normaliser called ``name``.

    Raises:
        SettingsError: If there is none of that name; the message lists those there are.
    """
    if name not in NORMALIZERS:
        what = f"There is no normaliser {name!r}"
        raise SettingsError(what, expected=f"one of {', '.join(NORMALIZERS)}")
    return NORMALIZERS[name]


def _letters(text: str) -> str:
    """Only what is spoken, one form each, single characters where Unicode has them."""
    text = compose(text)
    for pattern, same in _SAME:
        text = pattern.sub(same, text)
    return compose("".join(map(_spoken, text)))


def _words(text: str) -> str:
    """Words without the apostrophes around them, which are quotes, and single spaces between."""
    return " ".join(word for word in (w.strip("'") for w in compose(text).split()) if word)


@functools.cache
def _plain(character: str) -> str:
    """A straight apostrophe for any, nothing for what is invisible, all else as it is."""
    if character in _APOSTROPHES:
        return "'"
    invisible = character in _INVISIBLE or unicodedata.category(character) in ("Cc", "Cf", "Cs")
    return "" if invisible and not character.isspace() else character


@functools.cache
def _spoken(character: str) -> str:
    """One character without punctuation and symbols, its compatibility form made plain."""
    character = _plain(character)
    if not character or character == "'":
        return character
    if unicodedata.category(character)[0] in "PS":
        return " "
    # NFKC would take vowels and letters of Thai, Lao and Tibetan apart, and make letters of the small raised ones that
    # phoneticians write beside a letter to change its sound.
    raised = unicodedata.category(character) == "Lm" and unicodedata.decomposition(character).startswith("<super>")
    if raised or "\u0e00" <= character <= "\u0fff":
        return character
    # A number may turn out to hold symbols: "½" is "1⁄2", "⑴" is "(1)".
    plain = unicodedata.normalize("NFKC", character)
    return "".join(" " if unicodedata.category(c)[0] in "PS" else c for c in plain)


def _closed(text: str) -> str:
    """Without opening brackets that none closes, each of which Whisper's patterns would follow to the end of the text.

    A semicolon in their place means as little to them, and keeps the time linear.
    """
    for openers, closers in (("(", ")"), ("<[", ">]")):
        end = 1 + max(map(text.rfind, closers))
        text = text[:end] + "".join(";" if c in openers else c for c in text[end:])
    return text


@functools.cache
def _whisper() -> Normalizer:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    file = resources.files("stablequant.tasks") / "english_spelling.json"
    normalizer: Normalizer = EnglishTextNormalizer(json.loads(file.read_text(encoding="utf-8")))
    return normalizer
