"""The folder of a model that is named by a path or by a hub id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stablequant.errors import ModelError

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

#: What is fetched from the hub: never pickled weights, nor those of other frameworks or of adapters' languages.
FETCHED = ("model*.safetensors", "model.safetensors.index.json", "adapter_config.json", *PROCESSOR_FILES)


def model_folder(model: str | Path, more: Sequence[str] = ()) -> Path:
    """The folder called ``model``, fetched from the Hugging Face hub if the name is an id there and no folder here.

    Args:
        model: The name.
        more: Files to fetch beside those that every model has.

    Raises:
        ModelError: There is no such folder, and no such model on the hub, or the hub cannot be reached.
    """
    try:
        folder = Path(model).expanduser()
        if folder.is_dir():
            return folder
        there = folder.exists()
    # A home that is not known; a name that is too long, or with a character that no path has; a folder that is closed.
    except (RuntimeError, ValueError, OSError) as error:
        what = f"{str(model)[:200]!r} is no path ({getattr(error, 'strerror', None) or error})"
        raise ModelError(what, expected="a model folder or a hub id such as facebook/hubert-large-ls960-ft") from error
    if there or not _may_be_id(str(model)):
        what = f"{model} is not a folder"
        raise ModelError(what, expected="a model folder or a hub id such as facebook/hubert-large-ls960-ft")
    return _fetched(str(model), more)


def _may_be_id(name: str) -> bool:
    """Whether the hub could know it: ``owner/name``, of the characters that the hub allows."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    if name.count("/") != 1:
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _fetched(name: str, more: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(snapshot_download(name, allow_patterns=[*FETCHED, *more]))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError) as error:
        reason = "the hub cannot be reached and the model is not in its cache"
        raise _not_found(name, reason) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise _not_found(
            name, str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        ) from error


def _not_found(name: str, reason: str) -> ModelError:
    what = f"{name} is no folder here, and no model that could be fetched from the hub ({reason})"
    return ModelError(
        what,
        expected="a model folder or a hub id",
        fix="check the spelling of the path or of the id, or download the model elsewhere and give its folder",
    )
