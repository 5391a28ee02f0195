"""Load a checkpoint: a local folder in Hugging Face form, or a hub id. Safetensors only, and no remote code.

It is read as transformers reads it, or refused: every tensor is used once or named, and no field of a file is trusted
before it is checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from stablequant.errors import ModelError
from stablequant.families import moonshine, wav2vec2, whisper  # noqa: F401 - they register themselves
from stablequant.families.config_file import checked, read_config
from stablequant.families.family import FAMILIES, Family
from stablequant.families.folder import PROCESSOR_FILES, model_folder
from stablequant.families.frontend import Frontend
from stablequant.families.model import SpeechModel
from stablequant.families.processor_files import load_processor
from stablequant.families.special_ids import IDS
from stablequant.families.weight_files import read_weights, refuse_adapter, stray_files, weight_files
from stablequant.families.weight_names import fit, widened
from stablequant.families.weight_shapes import LAYOUTS
from stablequant.families.whisper_ids import whisper_ids

#: What finds the ids that steer decoding, by ``model_type``; the head of a family without an entry finds its own.
_IDS = {**IDS, "whisper": whisper_ids}

__all__ = ["PROCESSOR_FILES", "fingerprint", "load", "load_frontend", "processor_fingerprint", "read_config"]


def load(model: str | Path) -> SpeechModel:
    """Load a model for quantisation.

    Args:
        model: A folder with config.json, processor files and safetensors weights, or a hub id.

    Raises:
        ModelError: The folder, its class, its weights or its tokenizer are not what is needed; says which and the fix.
    """
    folder = model_folder(model)
    refuse_adapter(folder)
    config, family = _config(folder)
    with _naming(folder):
        weights = _weights(folder, config)
        graphs = family.build(config, weights)
    return SpeechModel(
        family=config["model_type"],
        path=folder,
        frontend=_frontend(folder, config, family),
        graphs=graphs,
        fingerprint=fingerprint(folder),
        processor_fingerprint=processor_fingerprint(folder),
        float_bytes=sum(4 * w.numel() for w in weights.values()),
        notes=_notes(folder),
    )


def load_frontend(folder: Path) -> Frontend:
    """Processor and configuration of an exported or a float model, without its weights."""
    config, family = _config(folder)
    return _frontend(folder, config, family)


def fingerprint(folder: Path) -> str:
    """SHA-256 over config.json and the weight files: the identity a plan is bound to."""
    digest = hashlib.sha256()
    for path in (folder / "config.json", *weight_files(folder)):
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def processor_fingerprint(folder: Path) -> str:
    """SHA-256 over the files that say what audio becomes before the model, and what its ids mean after it."""
    hashed = hashlib.sha256()
    for name in PROCESSOR_FILES:
        if name not in ("config.json", "LICENSE") and (folder / name).is_file():
            content = (folder / name).read_bytes()
            hashed.update(f"{name}:{len(content)}:".encode() + content)
    return hashed.hexdigest()


def _config(folder: Path) -> tuple[dict[str, Any], Family]:
    """The checked configuration, and the family of the class that it names."""
    config = read_config(folder)
    family = _family(config, folder)
    return checked(config, folder / "config.json"), family


def _family(config: Mapping[str, Any], folder: Path) -> Family:
    names = config.get("architectures") or ["(none named)"]
    if names[0] in FAMILIES:
        return FAMILIES[names[0]]
    name = names[0] if len(names[0]) <= 100 else names[0][:97] + "..."
    fix = "use a checkpoint fine-tuned for speech recognition"
    if config["model_type"] in ("wav2vec2", "hubert", "wavlm"):
        fix = f"{name} has no CTC head: {fix}, with a class that ends in ForCTC"
    what = f"{folder / 'config.json'} names the class {name}"
    raise ModelError(what, expected=f"one of {', '.join(FAMILIES)}", fix=fix)


def _weights(folder: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    weights, origin = read_weights(folder)
    layout = LAYOUTS.get(config["model_type"])
    if layout is None:  # a family from elsewhere, whose `build` compares names and shapes itself
        return {name: widened(name, weight, origin[name]) for name, weight in weights.items()}
    tied = layout.tied if config.get("tie_word_embeddings", True) else {}
    return fit(weights, origin, layout.shapes(config), base=layout.base, tied=tied)


def _frontend(folder: Path, config: Mapping[str, Any], family: Family) -> Frontend:
    processor = load_processor(folder, feature_size=config.get("num_mel_bins", 1))
    found = _IDS.get(config["model_type"])
    config = dict(config) if found is None else found(config, processor.tokenizer, folder).into(config)
    with _naming(folder):
        return Frontend(family, config, processor, family.head(config, processor))


def _notes(folder: Path) -> tuple[str, ...]:
    stray = stray_files(folder)
    if not stray:
        return ()
    used = ", ".join(path.name for path in weight_files(folder))
    left = ", ".join(stray)
    return (f"{folder} holds weights that are no part of the checkpoint and were not read: {left} (read: {used})",)


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Name the checkpoint in errors of what knows its contents alone."""
    try:
        yield
    except ModelError as error:
        if str(folder) in error.what:
            raise
        what = f"{folder}: {error.what}"
        raise ModelError(what, expected=error.expected, fix=error.fix) from error
    except KeyError as error:
        what = f"{folder / 'config.json'} has no {error.args[0]}"
        raise ModelError(what, expected="the config.json that belongs to the weights", fix="copy it again") from error
