"""Named text normalisers: what counts as the same word when transcripts are compared.

The name is kept with every result, for a WER means nothing without it.
"""

from __future__ import annotations

import functools
import json
import unicodedata
from collections.abc import Callable
from importlib import resources

from stablequant.errors import SettingsError

Normalizer = Callable[[str], str]


def none(text: str) -> str:
    """Leave the words as they are; only runs of white space become single spaces."""
    return " ".join(text.split())


def basic(text: str) -> str:
    """Lower the case and drop punctuation and symbols, in any language; an apostrophe inside a word stays.

    The apostrophe tells "we're" from "were"; a typographic one is the same as a typewriter's.
    """
    text = unicodedata.normalize("NFKC", text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    kept = (c if c == "'" or unicodedata.category(c)[0] not in "PS" else " " for c in text)
    return " ".join(word for word in (w.strip("'") for w in "".join(kept).split()) if word)


def english(text: str) -> str:
    """Apply Whisper's English normaliser: case, punctuation, contractions, numbers, spelling, fillers.

    Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", appendix C.
    """
    return none(_whisper()(text))


NORMALIZERS: dict[str, Normalizer] = {"english": english, "basic": basic, "none": none}


def get(name: str) -> Normalizer:
    """Return the normaliser called ``name``.

    Raises:
        SettingsError: If there is none of that name; the message lists those there are.
    """
    if name not in NORMALIZERS:
        what = f"There is no normaliser {name!r}"
        raise SettingsError(what, expected=f"one of {', '.join(NORMALIZERS)}")
    return NORMALIZERS[name]


@functools.cache
def _whisper() -> Normalizer:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    file = resources.files("stablequant.tasks") / "english_spelling.json"
    normalizer: Normalizer = EnglishTextNormalizer(json.loads(file.read_text(encoding="utf-8")))
    return normalizer
