"""The ids that steer decoding: the CTC blank, and the tokens that a decoder starts and ends with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stablequant.errors import ModelError
from stablequant.families.json_file import read_object_if_there


@dataclass(frozen=True)
class SpecialIds:
    """Ids of special tokens; ``None`` where a model of that kind has none.

    Attributes:
        blank: The CTC blank.
        start: What a decoder is given first.
        end: What a decoder ends with.
    """

    blank: int | None = None
    start: int | None = None
    end: int | None = None

    def into(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """``config`` with these ids in the fields that the heads read."""
        names = {"pad_token_id": self.blank, "decoder_start_token_id": self.start, "eos_token_id": self.end}
        return {**config, **{name: value for name, value in names.items() if value is not None}}


def ctc_ids(config: Mapping[str, Any], tokenizer: Any, folder: Path) -> SpecialIds:
    """Of a CTC model. The blank is the tokenizer's pad token: transformers drops that one when it decodes.

    Training takes config.json's ``pad_token_id`` for the blank (``Wav2Vec2ForCTC.forward``), so where the two differ one of
    the files belongs to another model.

    Raises:
        ModelError: The tokenizer has no pad token, it is beyond the head, or config.json names another id.
    """
    path, blank = folder / "config.json", tokenizer.pad_token_id
    if blank is None:
        what = f"the tokenizer in {folder} has no pad token, which is the blank of a CTC model"
        raise ModelError(
            what, fix="set pad_token in tokenizer_config.json, or copy the tokenizer files of this very model"
        )
    stated = _id(config, "pad_token_id", path)
    if stated is not None and stated != blank:
        what = (
            f"{path} has the pad_token_id {stated}, the tokenizer's pad token {tokenizer.pad_token} has the id {blank}"
        )
        raise ModelError(
            what,
            expected="one id for the CTC blank",
            fix=f"if the tokenizer is this model's, set pad_token_id to {blank} in config.json; else copy its own",
        )
    return SpecialIds(blank=_within(blank, f"the tokenizer's pad token {tokenizer.pad_token}", config, folder))


def decoder_ids(config: Mapping[str, Any], tokenizer: Any, folder: Path) -> SpecialIds:
    """Of a decoder: generation_config.json goes before config.json (transformers, ``GenerationMixin``), then the tokenizer.

    Raises:
        ModelError: No file says which, or an id is no id, beyond the head, or one of several.
    """
    path = folder / "generation_config.json"
    sources = ((read_object_if_there(path), path), (config, folder / "config.json"))

    def first(*keys: str) -> int | None:
        found = (_id(source, key, file) for key in keys for source, file in sources)
        return next((value for value in found if value is not None), None)

    start, end = first("decoder_start_token_id", "bos_token_id"), first("eos_token_id")
    start = tokenizer.bos_token_id if start is None else start
    end = tokenizer.eos_token_id if end is None else end
    for role, key, value in (("starts", "decoder_start_token_id", start), ("ends", "eos_token_id", end)):
        if value is None:
            what = f"{folder} does not say which token the decoder {role} with"
            raise ModelError(
                what, expected=f"{key} in generation_config.json or config.json", fix="copy these files again"
            )
        _within(value, f"the token that the decoder {role} with", config, folder)
    return SpecialIds(start=start, end=end)


def _id(source: Mapping[str, Any], key: str, path: Path) -> int | None:
    """A token id; the only one of a list."""
    value = source.get(key)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None:
        return None
    if type(value) is not int or value < 0:
        what = f"{path} has the {key} {str(value)[:60]}"
        raise ModelError(what, expected="one token id", fix="copy the file that belongs to the weights")
    return value


def _within(value: int, role: str, config: Mapping[str, Any], folder: Path) -> int:
    if value >= config["vocab_size"]:
        what = f"{folder}: {role} has the id {value}, the model's head has {config['vocab_size']}"
        raise ModelError(
            what,
            expected="the tokenizer the model was trained with",
            fix="copy the tokenizer files of this very model",
        )
    return value


#: Kinds of models with a CTC head.
CTC = (
    "wav2vec2",
    "hubert",
    "wavlm",
    "unispeech",
    "unispeech-sat",
    "data2vec-audio",
    "sew",
    "wav2vec2-conformer",
    "wav2vec2-bert",
    "parakeet_ctc",
    "lasr_ctc",
)
#: By ``model_type``; the head of a family without an entry here finds its own.
IDS: Mapping[str, Callable[[Mapping[str, Any], Any, Path], SpecialIds]] = {
    **dict.fromkeys(CTC, ctc_ids),
    "moonshine": decoder_ids,
}
