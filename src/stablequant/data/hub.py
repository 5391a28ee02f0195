"""Hugging Face datasets as manifests; needs the optional ``datasets`` package."""

from __future__ import annotations

import re
from pathlib import Path

from stablequant.data import fields
from stablequant.data.fields import AUDIO_KEYS, TEXT_KEYS
from stablequant.data.utterance import Utterance, split_of
from stablequant.errors import DataError

_SPEC = re.compile(r"hf:(?P<name>[^:]+)(:(?P<config>[^:\[]+))?:(?P<split>[^:\[]+(\[.*\])?)")


def read_hub(spec: str) -> list[Utterance]:
    """Read ``hf:name[:config]:split``; audio stays encoded, and no remote code is run.

    ``split`` may be a slice, such as ``test[:100]``.

    Raises:
        DataError: If ``datasets`` is not installed, or the dataset cannot be loaded, or has no audio.
    """
    parts = _SPEC.fullmatch(spec)
    if parts is None:
        what = f"{spec} does not name a dataset"
        raise DataError(what, expected="hf:name:split or hf:name:config:split")
    try:
        import datasets
    except ImportError as error:
        what = f"{spec} needs the datasets package"
        raise DataError(what, fix="pip install datasets") from error
    try:
        table = datasets.load_dataset(parts["name"], parts["config"], split=parts["split"])
    except Exception as error:  # what datasets raises is open-ended, down to its HTTP client's errors
        # "An error occurred while generating the dataset" hides its reason, often a package to install.
        what = f"{spec} cannot be loaded: {error.__cause__ or error}"
        raise DataError(what, expected="a dataset that loads without remote code") from error

    columns = dict(table.features)
    kinds = [key for key, feature in columns.items() if isinstance(feature, datasets.Audio)]
    audio = next((key for key in AUDIO_KEYS if key in kinds), kinds[0] if kinds else None)
    text = next((key for key in TEXT_KEYS if key in columns), None)
    if audio is None:
        what = f"{spec} has the columns {', '.join(columns)}"
        raise DataError(what, expected=f"an Audio column and, for speech with text, one of {', '.join(TEXT_KEYS)}")

    utterances = []
    for number, row in enumerate(table.cast_column(audio, datasets.Audio(decode=False))):
        where, encoded = f"{spec} row {number}", row[audio] or {}
        path = encoded.get("path")
        utterances.append(
            Utterance(
                id=fields.id_(row, where) or f"{parts['split']}-{number:06d}",
                text=fields.text({"text": row[text]}, where) if text else None,
                # A row without audio is a recording without bytes: reading it will say so.
                audio=encoded.get("bytes") or (Path(path) if path else b""),
                speaker=fields.speaker(row, where),
                split=split_of(parts["split"]),
                source=where,
            )
        )
    return utterances
