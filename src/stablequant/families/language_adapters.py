"""Models with one set of adapters a language (MMS): which file holds a language's, and what it puts into the checkpoint.

``adapter.{language}.safetensors`` holds the adapters in the attention blocks and the head; ``vocab.json`` has a vocabulary a
language (transformers, ``Wav2Vec2ForCTC.load_adapter``). The checkpoint's own weights are those of one language already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stablequant.errors import ModelError
from stablequant.families.json_file import read_object_if_there
from stablequant.families.weight_files import listed, read_file

if TYPE_CHECKING:
    from torch import Tensor

#: What a language's file holds of a checkpoint's weights.
PARTS = re.compile(r"(^|\.)adapter_layer\.|^lm_head\.")
#: What codes of languages are written in; MMS has ``uzb-script_cyrillic``.
_CODE = re.compile(r"[A-Za-z0-9_-]{1,64}")


def file_name(language: str) -> str:
    """The name of a language's file, in a folder or on the hub."""
    return f"adapter.{language}.safetensors"


def has_adapters(config: Mapping[str, Any]) -> bool:
    """Whether a model has a set of adapters a language."""
    return bool(config.get("adapter_attn_dim"))


def adapter_file(folder: Path, config: Mapping[str, Any], language: str | None) -> Path | None:
    """The file with the adapters of ``language``; ``None`` where the checkpoint's own weights serve.

    Raises:
        ModelError: The model has adapters, and none of that language.
    """
    if language is None or not has_adapters(config):
        return None
    if not _CODE.fullmatch(language):
        what = f"{language[:100]!r} is no code of a language"
        raise ModelError(what, expected="letters, digits, - and _, such as fra")
    path = folder / file_name(language)
    if not path.is_file():
        there = sorted(p.name.split(".")[1] for p in folder.glob("adapter.*.safetensors"))
        what = f"{folder} has no {path.name}"
        raise ModelError(what, expected=f"one of {listed(there)}" if there else "a file for each language")
    return path


def with_adapter(
    weights: Mapping[str, Tensor], origin: Mapping[str, Path], path: Path
) -> tuple[dict[str, Tensor], dict[str, Path]]:
    """A checkpoint's tensors with all that a language decides taken from its file, and the file that each stands in.

    Raises:
        ModelError: The file cannot be read.
    """
    own = read_file(path)
    kept = {name: tensor for name, tensor in weights.items() if not PARTS.search(name)}
    return {**kept, **own}, {**{name: origin[name] for name in kept}, **dict.fromkeys(own, path)}


def of_language(config: Mapping[str, Any], folder: Path, language: str | None) -> dict[str, Any]:
    """``config`` with the head's size of ``language``: as many tokens as its vocabulary has.

    Raises:
        ModelError: vocab.json has no such vocabulary.
    """
    if language is None or not has_adapters(config):
        return dict(config)
    vocabulary = read_object_if_there(folder / "vocab.json")
    found = vocabulary.get(language)
    ids = [index for index in found.values() if type(index) is int] if isinstance(found, dict) else []
    if not ids:
        what = f"{folder / 'vocab.json'} has no vocabulary of {language}"
        several = sorted(name for name, value in vocabulary.items() if isinstance(value, dict))
        raise ModelError(what, expected=f"one of {listed(several)}" if several else "one vocabulary a language")
    return {**config, "vocab_size": max(ids) + 1}
