"""What a decoder can be asked for by its prompt: speech of which language it hears, and whether to translate it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn

from stablequant.errors import SettingsError
from stablequant.heads.decoder import DecoderSpec
from stablequant.heads.timestamps import Timestamps

_ENGLISH = ("en", "eng")


@dataclass(frozen=True)
class Requests:
    """The tokens that stand for requests.

    Attributes:
        languages: Token of each language that the model hears, by its code; empty for a model of English alone.
        transcribe: Token that asks for a transcript; ``None`` for a model that does nothing else.
        translate: Token that asks for a translation into English.
        closing: The tokens that end every prompt, such as the one for text without timestamps.
        usual: The language that is heard where none is given; ``None``: the model chooses.
        latest_first: How many steps after 0.00 s the first timestamp may be; ``None``: any.
    """

    languages: Mapping[str, int] = field(default_factory=dict)
    transcribe: int | None = None
    translate: int | None = None
    closing: tuple[int, ...] = ()
    usual: str | None = None
    latest_first: int | None = None

    def put_to(self, decoder: DecoderSpec, language: str | None, *, translate: bool) -> DecoderSpec:
        """``decoder`` with a prompt for speech in ``language``, or in the usual one; without either it chooses each utterance's.

        Raises:
            SettingsError: The model does not know the language, or does not translate.
        """
        start = decoder.prompt[:1]
        if self.translate is None:
            refuse_translation(translate=translate)
        task = self.translate if translate else self.transcribe
        rest = (*(() if task is None else (task,)), *self.closing)
        if not self.languages:
            if language is not None and _code(language) not in _ENGLISH:
                what = f"language {language}, but the model knows English alone"
                raise SettingsError(what, expected="en, or none", fix="use a multilingual checkpoint")
            return replace(decoder, prompt=start + rest, opening=())
        language = language or self.usual
        if language is None:
            opening = (tuple(self.languages.values()), *((token,) for token in rest))
            return replace(decoder, prompt=start, opening=opening)
        code = _code(language)
        if code not in self.languages:
            what = f"language {language}, which the model does not know"
            raise SettingsError(what, expected=f"one of {', '.join(sorted(self.languages))}")
        return replace(decoder, prompt=(*start, self.languages[code], *rest), opening=())

    def with_times(self, decoder: DecoderSpec) -> DecoderSpec:
        """``decoder``, with a prompt already, for text with timestamps: all but the token that asks for none.

        Raises:
            SettingsError: There is no such token.
        """
        if not self.closing:
            refuse_times()
        times, count = Timestamps(self.closing[-1] + 1, self.latest_first), len(self.closing)
        if decoder.opening:
            return replace(decoder, opening=decoder.opening[:-count], timestamps=times)
        return replace(decoder, prompt=decoder.prompt[:-count], timestamps=times)


def refuse_times() -> NoReturn:
    """Raise SettingsError where a model is asked for times that it does not tell."""
    what = "timestamps, which the model does not tell"
    raise SettingsError(what, expected="text alone", fix="use a Whisper, whose decoder writes them")


def refuse_translation(*, translate: bool) -> None:
    """Raise SettingsError if a model that only transcribes is asked to translate."""
    if translate:
        what = "the task translate, but the model only transcribes"
        raise SettingsError(what, expected="the task transcribe", fix="use a multilingual Whisper")


def _code(language: str) -> str:
    """The code without a region or script."""
    return re.split("[-_]", language.strip().lower(), maxsplit=1)[0]
