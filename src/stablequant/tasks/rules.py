"""By which rules transcripts are compared: a normaliser and a unit of error that suit the language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stablequant.errors import SettingsError
from stablequant.tasks import normalize
from stablequant.tasks.language import has_dotless_i, is_english, is_unspaced

Unit = Literal["word", "character"]

#: Leaves the choice to the language.
AUTO = "auto"

_ENGLISH = ("en", "eng")
_DOTLESS_I = ("tr", "tur", "az", "aze", "azb", "azj", "crh")
#: Chinese languages, Japanese, Thai, Lao, Khmer, Burmese. ISO 639-1, -2 and -3.
_UNSPACED = """zh zho chi cmn yue wuu nan hak gan hsn cdo cjy cpx czh czo mnp lzh ja jpn th tha lo lao km khm my mya
    bur""".split()
#: ISO 639-1. Longer codes are some eight thousand, and known by their form alone.
_TWO_LETTERS = frozenset(
    """aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en
    eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka
    kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl
    nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv
    sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu""".split()
)


@dataclass(frozen=True)
class Rules:
    """How transcripts are compared.

    Attributes:
        normalizer: Name of the normaliser, one of `normalize.NORMALIZERS`.
        language: Its code, if it was given, or "en" if the text is English; else None.
        unit: What errors are counted in: "word" for a WER, "character" for a CER.
        why: The choice explained, in one sentence.
    """

    normalizer: str
    language: str | None
    unit: Unit
    why: str

    def clean(self, text: str) -> str:
        """Return ``text`` in its normal form."""
        return normalize.get(self.normalizer)(text)


def resolve(name: str = AUTO, language: str | None = None, texts: Sequence[str] = ()) -> Rules:
    """Return the rules for ``texts``.

    Resolve once for all references of a run: a part of them alone might tell less, and get other rules.

    Args:
        name: A normaliser, or "auto" for the one of the language: "english" for English, "turkish" for Turkish and
            Azerbaijani, "basic" for all others and where the language cannot be told.
        language: ISO 639 code, a region or script after it if you like ("en", "deu", "zh-Hans"); None to tell it from
            ``texts``.
        texts: All references.

    Raises:
        SettingsError: If there is no such normaliser, or ``language`` is no such code.
    """
    code = None if language is None else _code(language)
    unit: Unit = "character" if code in _UNSPACED or is_unspaced(texts) else "word"
    counted = "the script puts no space between words" if unit == "character" else "words stand apart"
    if name != AUTO:
        normalize.get(name)
        return Rules(name, code, unit, f"The normaliser {name!r} was asked for, and {counted}.")
    if code is not None:
        chosen = "english" if code in _ENGLISH else "turkish" if code in _DOTLESS_I else "basic"
        return Rules(chosen, code, unit, f"The language was given as {code!r}, and {counted}.")
    if is_english(texts):
        return Rules("english", "en", unit, "The references are English by their frequent words.")
    if has_dotless_i(texts):
        return Rules("turkish", None, unit, "The references hold the letters ı or İ of Turkish and Azerbaijani.")
    return Rules("basic", None, unit, f"Nothing shows that the references are English, and {counted}.")


def _code(language: str) -> str:
    code = re.split("[-_]", language.strip().lower(), maxsplit=1)[0]
    if code not in _TWO_LETTERS and not re.fullmatch("[a-z]{3}", code):
        what = f"{language!r} is no language code"
        raise SettingsError(what, expected="an ISO 639 code such as en, de, hin, ja or yue", fix="look the code up")
    return code
