"""Load a checkpoint: a local folder in Hugging Face form, or a hub id. Safetensors only, and no remote code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from stablequant.errors import ModelError
from stablequant.families import moonshine, wav2vec2  # noqa: F401 - they register themselves
from stablequant.families.family import FAMILIES, Family
from stablequant.families.frontend import Frontend
from stablequant.families.model import SpeechModel

#: Small files that make a folder self-contained beside its weights.
PROCESSOR_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "LICENSE",
)


def load(model: str | Path) -> SpeechModel:
    """Load a model for quantisation.

    Args:
        model: A folder with config.json, processor files and safetensors weights, or a hub id.

    Raises:
        ModelError: The folder, its class, its weights or its tokenizer are not what is needed; says which and the fix.
    """
    folder = _folder(model)
    config = read_config(folder)
    family = _family(config, folder)
    weights = _weights(folder)
    with _naming(folder):
        graphs = family.build(config, weights)
    return SpeechModel(
        family=config["model_type"],
        path=folder,
        frontend=_frontend(folder, config, family),
        graphs=graphs,
        fingerprint=fingerprint(folder),
        processor_fingerprint=processor_fingerprint(folder),
        float_bytes=sum(4 * w.numel() for w in weights.values()),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The parsed config.json of ``folder``."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError as error:
        what = f"{folder} has no config.json"
        raise ModelError(what, expected="a folder in Hugging Face form") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        what = f"{path} is not valid JSON ({error})"
        raise ModelError(what, fix="download the file again") from error
    if not isinstance(config, dict) or "model_type" not in config:
        what = f"{path} has no model_type"
        raise ModelError(what, expected="the config.json of a transformers model")
    return config


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Name the checkpoint in errors of what knows its contents alone."""
    try:
        yield
    except ModelError as error:
        what = f"{folder}: {error.what}"
        raise ModelError(what, expected=error.expected, fix=error.fix) from error
    except KeyError as error:
        what = f"{folder / 'config.json'} has no {error.args[0]}"
        raise ModelError(what, expected="the config.json that belongs to the weights", fix="copy it again") from error


def _family(config: dict[str, Any], folder: Path) -> Family:
    names = config.get("architectures") or ["(none named)"]
    if names[0] in FAMILIES:
        return FAMILIES[names[0]]
    fix = "use a checkpoint fine-tuned for speech recognition"
    if config["model_type"] in ("wav2vec2", "hubert", "wavlm"):
        fix = f"{names[0]} has no CTC head: {fix}, with a class that ends in ForCTC"
    what = f"{folder / 'config.json'} names the class {names[0]}"
    raise ModelError(what, expected=f"one of {', '.join(FAMILIES)}", fix=fix)


def _folder(model: str | Path) -> Path:
    folder = Path(model)
    if folder.is_dir():
        return folder
    if folder.exists() or folder.is_absolute() or str(model).startswith(".") or str(model).count("/") != 1:
        what = f"{model} is not a folder"
        raise ModelError(what, expected="a model folder or a hub id such as facebook/hubert-large-ls960-ft")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                str(model), allow_patterns=["*.safetensors", "*.safetensors.index.json", *PROCESSOR_FILES]
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        what = f"{model} is no folder here and could not be fetched from the hub ({error})"
        raise ModelError(
            what,
            expected="a model folder or a hub id",
            fix="check the spelling and the network, or download the model and give its folder",
        ) from error


def weight_files(folder: Path) -> list[Path]:
    """The checkpoint's safetensors files, sorted by name."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        others = [p.name for p in (*folder.glob("*.bin"), *folder.glob("*.pt"))]
        raise ModelError(
            f"{folder} has no *.safetensors" + (f", only {', '.join(others)}" if others else ""),
            expected="weights as safetensors (pickled weights are never opened: they can run code)",
            fix="convert them with transformers: model.save_pretrained(folder)",
        )
    return files


def _weights(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = {}
    for path in weight_files(folder):
        try:
            weights.update({key: value.float() for key, value in load_file(path).items()})
        except (SafetensorError, OSError) as error:
            what = f"{path} cannot be read ({error})"
            raise ModelError(what, fix="download the file again") from error
    return weights


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


def load_processor(folder: Path) -> Any:
    """Feature extractor and tokenizer."""
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"the processor in {folder} cannot be loaded ({error})"
        raise ModelError(
            what,
            expected="preprocessor_config.json and tokenizer files beside config.json",
            fix="copy them from the model's page",
        ) from error
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "feature_extractor"):
        what = f"{folder} has no tokenizer beside its feature extractor"
        raise ModelError(what, fix="copy the tokenizer files")
    return processor


def load_frontend(folder: Path) -> Frontend:
    """Processor and configuration of an exported or a float model, without its weights."""
    config = read_config(folder)
    return _frontend(folder, config, _family(config, folder))


def _frontend(folder: Path, config: dict[str, Any], family: Family) -> Frontend:
    processor = load_processor(folder)
    with _naming(folder):
        return Frontend(family, config, processor, family.head(config, processor))
