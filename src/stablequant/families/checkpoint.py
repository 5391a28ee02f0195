"""Load a checkpoint: a local folder in Hugging Face form, or a hub id. Safetensors only, and no remote code.

It is read as transformers reads it, or refused: every tensor is used once or named, and no field of a file is trusted
before it is checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from stablequant.errors import ModelError
from stablequant.families import (  # noqa: F401 - they register themselves
    data2vec,
    lasr,
    moonshine,
    parakeet,
    sew,
    wav2vec2,
    wav2vec2_conformer,
    whisper,
)
from stablequant.families.config_file import checked, read_config
from stablequant.families.family import FAMILIES, Family
from stablequant.families.folder import PROCESSOR_FILES, model_folder
from stablequant.families.frontend import Frontend
from stablequant.families.held_weights import holding
from stablequant.families.language_adapters import adapter_file, file_name, has_adapters, of_language, with_adapter
from stablequant.families.model import SpeechModel
from stablequant.families.parameters import Parameters
from stablequant.families.processor_files import load_processor
from stablequant.families.special_ids import IDS, ctc_ids
from stablequant.families.unsupported import UNSUPPORTED
from stablequant.families.weight_files import read_weights, refuse_adapter, stray_files, weight_files
from stablequant.families.weight_names import fit, places, widened
from stablequant.families.weight_shapes import LAYOUTS, Layout
from stablequant.families.whisper_ids import whisper_ids
from stablequant.network.graph import Graph

#: What finds the ids that steer decoding, by ``model_type``; the head of a family without an entry finds its own.
_IDS = {**IDS, "whisper": whisper_ids}

__all__ = [
    "PROCESSOR_FILES",
    "fingerprint",
    "load",
    "load_frontend",
    "parameters",
    "processor_fingerprint",
    "read_config",
]


def load(model: str | Path, language: str | None = None) -> SpeechModel:
    """Load a model for quantisation.

    Args:
        model: A folder with config.json, processor files and safetensors weights, or a hub id.
        language: Of a model with one set of adapters a language (MMS): whose to load, by the code in its files' names;
            default: that of the checkpoint's own weights. Other models are the same for all languages.

    Raises:
        ModelError: The folder, its class, its weights or its tokenizer are not what is needed; says which and the fix.
    """
    folder = model_folder(model, () if language is None else (file_name(language),))
    refuse_adapter(folder)
    config, family = _config(folder, language)
    adapter = adapter_file(folder, config, language)

    def read() -> tuple[int, Sequence[Graph]]:
        with _naming(folder):
            weights = _weights(folder, config, adapter)
            return sum(4 * w.numel() for w in weights.values()), family.build(config, weights)

    float_bytes, graphs = read()
    return SpeechModel(
        family=config["model_type"],
        path=folder,
        frontend=_frontend(folder, config, family, language if adapter else None),
        graphs=holding(graphs, lambda: read()[1]),
        fingerprint=fingerprint(folder, adapter),
        processor_fingerprint=processor_fingerprint(folder),
        float_bytes=float_bytes,
        notes=_notes(folder, config),
        language=language if adapter else None,
    )


def parameters(folder: Path) -> Parameters:
    """The parameters of the checkpoint in ``folder``, to be changed and written back; arguments and errors as `load` has them."""
    config, family = _config(folder, None)
    values, stored = _weights(folder, config, None), read_weights(folder)[0]
    layout = LAYOUTS.get(config["model_type"])
    names = dict(zip(values, values, strict=True))
    if layout is not None:
        names = places(stored, values, layout.shapes(config), base=layout.base, tied=_tied(layout, config))
    others = {name: tensor for name, tensor in stored.items() if name not in names}
    return Parameters(values, names, others, lambda weights: family.build(config, weights))


def load_frontend(folder: Path, language: str | None = None) -> Frontend:
    """Processor and configuration of an exported or a float model, without its weights; ``language`` as for `load`."""
    config, family = _config(folder, language)
    return _frontend(folder, config, family, language if has_adapters(config) else None)


def fingerprint(folder: Path, adapter: Path | None = None) -> str:
    """SHA-256 over config.json, the weight files and a language's adapters: the identity a plan is bound to."""
    digest = hashlib.sha256()
    if adapter is not None:
        digest.update(adapter.name.encode())
    for path in (folder / "config.json", *weight_files(folder), *([adapter] if adapter else [])):
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


def _config(folder: Path, language: str | None) -> tuple[dict[str, Any], Family]:
    """The checked configuration, and the family of the class that it names."""
    config = read_config(folder)
    family = _family(config, folder)
    return of_language(checked(config, folder / "config.json"), folder, language), family


def _family(config: Mapping[str, Any], folder: Path) -> Family:
    names = config.get("architectures") or ["(none named)"]
    if names[0] in FAMILIES:
        return FAMILIES[names[0]]
    name = names[0] if len(names[0]) <= 100 else names[0][:97] + "..."
    fix = "use a checkpoint fine-tuned for speech recognition"
    if IDS.get(config["model_type"]) is ctc_ids:
        fix = f"{name} has no CTC head: {fix}, with a class that ends in ForCTC"
    what = f"{folder / 'config.json'} names the class {name}"
    if name in UNSUPPORTED:
        what = f"{what}, which is not supported: it has {UNSUPPORTED[name]}"
        fix = "use a model of one of these; docs/models.md tells what each of them has"
    raise ModelError(what, expected=f"one of {', '.join(FAMILIES)}", fix=fix)


def _weights(folder: Path, config: Mapping[str, Any], adapter: Path | None) -> dict[str, Tensor]:
    weights, origin = read_weights(folder)
    if adapter is not None:
        weights, origin = with_adapter(weights, origin, adapter)
    layout = LAYOUTS.get(config["model_type"])
    if layout is None:  # a family from elsewhere, whose `build` compares names and shapes itself
        return {name: widened(name, weight, origin[name]) for name, weight in weights.items()}
    return fit(weights, origin, layout.shapes(config), base=layout.base, tied=_tied(layout, config))


def _tied(layout: Layout, config: Mapping[str, Any]) -> Mapping[str, str]:
    return layout.tied if config.get("tie_word_embeddings", True) else {}


def _frontend(folder: Path, config: Mapping[str, Any], family: Family, language: str | None) -> Frontend:
    processor = load_processor(folder, feature_size=config.get("num_mel_bins", 1), language=language)
    found = _IDS.get(config["model_type"])
    config = dict(config) if found is None else found(config, processor.tokenizer, folder).into(config)
    with _naming(folder):
        return Frontend(family, config, processor, family.head(config, processor))


def _notes(folder: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    languages = has_adapters(config)
    stray = [name for name in stray_files(folder) if not (languages and name.startswith("adapter."))]
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
