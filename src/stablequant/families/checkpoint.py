"""Load a checkpoint: a local folder in Hugging Face form, or a hub id. Safetensors only, and no remote code.

It is read as transformers reads it, or refused: every tensor is used once or named, and no field of a file is trusted
before it is checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from stablequant.errors import ModelError
from stablequant.families import moonshine, wav2vec2
from stablequant.families.config_file import checked, read_config
from stablequant.families.folder import PROCESSOR_FILES, model_folder
from stablequant.families.frontend import Frontend
from stablequant.families.model import SpeechModel
from stablequant.families.processor_files import load_processor
from stablequant.families.special_ids import ctc_ids, decoder_ids
from stablequant.families.weight_files import read_weights, refuse_adapter, stray_files, weight_files
from stablequant.families.weight_names import fit
from stablequant.families.weight_shapes import LAYOUTS
from stablequant.network.graph import Graph, receptive_field

__all__ = ["CTC", "FAMILIES", "PROCESSOR_FILES", "Family", "fingerprint", "load", "load_frontend", "read_config"]


@dataclass(frozen=True)
class Family:
    """What is known of a class of models.

    Attributes:
        shape: "ctc" or "seq2seq", as in `Frontend`.
        build: From config.json and weights to graphs.
        convolutions: From config.json to kernel and stride of the convolutions on the waveform.
    """

    shape: str
    build: Callable[[dict[str, Any], dict[str, Tensor]], tuple[Graph, ...]]
    convolutions: Callable[[Mapping[str, Any]], Sequence[tuple[int, int]]]


CTC = Family("ctc", wav2vec2.build, wav2vec2.convolutions)

#: By the class that config.json names.
FAMILIES: dict[str, Family] = {
    "MoonshineForConditionalGeneration": Family("seq2seq", moonshine.build, moonshine.convolutions),
    "Wav2Vec2ForCTC": CTC,
    "HubertForCTC": CTC,
    "WavLMForCTC": CTC,
}


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
    layout = LAYOUTS[config["model_type"]]
    tied = layout.tied if config.get("tie_word_embeddings", True) else {}
    weights, origin = read_weights(folder)
    return fit(weights, origin, layout.shapes(config), base=layout.base, tied=tied)


def _frontend(folder: Path, config: Mapping[str, Any], family: Family) -> Frontend:
    processor = load_processor(folder)
    with _naming(folder):
        _check_vocabulary(processor.tokenizer, config["vocab_size"], family.shape)
    ids = (ctc_ids if family.shape == "ctc" else decoder_ids)(config, processor.tokenizer, folder)
    shortest = receptive_field(family.convolutions(config))
    return Frontend(family.shape, ids.into(config), processor, shortest)


def _notes(folder: Path) -> tuple[str, ...]:
    stray = stray_files(folder)
    if not stray:
        return ()
    used = ", ".join(path.name for path in weight_files(folder))
    return (
        f"{folder} holds weights that are no part of the checkpoint and were not read: {', '.join(stray)} (read: {used})",
    )


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


def _check_vocabulary(tokenizer: Any, size: int, shape: str) -> None:
    """A tokenizer of another model writes nonsense without failing, so its size is compared with the head's."""
    special = set(tokenizer.all_special_ids)
    largest = max((i for i in tokenizer.get_vocab().values() if i not in special), default=-1)
    # A CTC head has an output for each character and a few special tokens; a seq2seq head may be padded.
    if largest >= size or (shape == "ctc" and len(tokenizer) < size - len(special)):
        what = f"the tokenizer has {len(tokenizer)} tokens up to id {largest}, the model's head has {size}"
        raise ModelError(
            what,
            expected="the tokenizer the model was trained with",
            fix="copy the tokenizer files of this very model",
        )
