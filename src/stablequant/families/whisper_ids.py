"""The tokens that steer Whisper: its prompt's, by language and task, and those that it is kept from choosing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stablequant.errors import ModelError
from stablequant.families.json_file import read_object_if_there
from stablequant.families.special_ids import SpecialIds, decoder_ids
from stablequant.heads.requests import Requests

#: Outputs of a head that knows languages (openai/whisper, ``Whisper.is_multilingual``).
MULTILINGUAL = 51865
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")


@dataclass(frozen=True)
class WhisperIds(SpecialIds):
    """Ids of a decoder with a prompt.

    Attributes:
        requests: What the prompt can ask for.
        suppressed: Tokens that are never chosen.
        suppressed_first: Tokens that are not chosen as the first of a text.
    """

    requests: Requests = Requests()
    suppressed: tuple[int, ...] = ()
    suppressed_first: tuple[int, ...] = ()

    def into(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """``config`` with all of them in the fields that the family reads."""
        more = {"suppress_tokens": self.suppressed, "begin_suppress_tokens": self.suppressed_first}
        return {**super().into(config), **more, "requests": self.requests}


def whisper_ids(config: Mapping[str, Any], tokenizer: Any, folder: Path) -> WhisperIds:
    """From generation_config.json, then config.json, then the tokenizer, as transformers takes them (``generation_whisper.py``).

    Raises:
        ModelError: An id is no id, or beyond the head; names the file and the field.
    """
    plain = decoder_ids(config, tokenizer, folder)
    path = folder / "generation_config.json"
    generation = read_object_if_there(path)
    known = tokenizer.get_vocab()

    def ids(key: str) -> tuple[int, ...]:
        source, file = (generation, path) if generation.get(key) is not None else (config, folder / "config.json")
        value = source.get(key)
        return () if value is None else tuple(_one(i, key, config, file) for i in _listed(value, key, file))

    def by_name(key: str) -> dict[str, int]:
        value = generation.get(key) or {}
        if not isinstance(value, dict):
            raise _unfit(path, key, value, "an object from names to token ids")
        return {name: _one(i, key, config, path) for name, i in value.items()}

    languages = {name.strip("<|>"): i for name, i in by_name("lang_to_id").items()}
    multilingual = generation.get("is_multilingual", config["vocab_size"] >= MULTILINGUAL)
    if multilingual and not languages:
        found = {match[1]: i for token, i in known.items() if (match := _LANGUAGE.fullmatch(token))}
        languages = {code: i for code, i in found.items() if i < config["vocab_size"]}
    tasks = {name: known[f"<|{name}|>"] for name in ("transcribe", "translate") if f"<|{name}|>" in known}
    tasks |= by_name("task_to_id")
    no_timestamps = generation.get("no_timestamps_token_id", known.get("<|notimestamps|>"))
    closing = () if no_timestamps is None else (_one(no_timestamps, "no_timestamps_token_id", config, path),)
    return WhisperIds(
        start=plain.start,
        end=plain.end,
        requests=Requests(
            languages,
            tasks.get("transcribe") if languages else None,
            tasks.get("translate") if languages else None,
            closing,
            _usual_language(generation, config, languages),
            _latest_first(generation, path),
        ),
        suppressed=ids("suppress_tokens"),
        suppressed_first=ids("begin_suppress_tokens"),
    )


def _usual_language(
    generation: Mapping[str, Any], config: Mapping[str, Any], languages: Mapping[str, int]
) -> str | None:
    """The language that a checkpoint names as its own, by code, name or token, or in the older ``forced_decoder_ids``."""
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    named = generation.get("language")
    if isinstance(named, str):
        plain = named.lower().strip("<|>")
        code = TO_LANGUAGE_CODE.get(plain, plain)
        return code if code in languages else None
    forced = generation.get("forced_decoder_ids") or config.get("forced_decoder_ids")
    by_id = {i: code for code, i in languages.items()}
    match forced:
        case [[1, int(first)], *_]:
            return by_id.get(first)
    return None


def _latest_first(generation: Mapping[str, Any], path: Path) -> int | None:
    """How late the first timestamp may be, in steps."""
    value = generation.get("max_initial_timestamp_index")
    if value is not None and (type(value) is not int or value < 0):
        raise _unfit(path, "max_initial_timestamp_index", value, "a whole number, or null")
    return value


def _listed(value: object, key: str, path: Path) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise _unfit(path, key, value, "a list of token ids, or null")
    return list(value)


def _one(value: object, key: str, config: Mapping[str, Any], path: Path) -> int:
    if type(value) is not int or not 0 <= value < config["vocab_size"]:
        raise _unfit(path, key, value, f"token ids from 0 to {config['vocab_size'] - 1}")
    return value


def _unfit(path: Path, key: str, value: object, expected: str) -> ModelError:
    what = f"{path} has {str(value)[:60]} in {key}"
    return ModelError(what, expected=expected, fix="copy the file that belongs to the weights")
