"""The folder of a model that is named by a path or by a hub id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stablequant.errors import ModelError
from stablequant.families.json_file import read_object

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

#: Weights: one file, or several that an index names (see weight_files.py).
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
#: What is fetched from the hub first; pickled weights never are, nor those of other frameworks or of adapters' languages.
FETCHED = (SINGLE, INDEX, "adapter_config.json", *PROCESSOR_FILES)


def model_folder(model: str | Path, more: Sequence[str] = ()) -> Path:
    """The folder called ``model``, fetched from the Hugging Face hub if the name is an id there and no folder here.

    Args:
        model: The name; of a model on the hub also ``id@revision``: a branch, a tag, a commit, or ``refs/pr/1``.
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
    """Whether the hub could know it: ``owner/name``, of the characters that the hub allows, with or without a revision."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    name = name.partition("@")[0]
    if name.count("/") != 1:
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _fetched(name: str, more: Sequence[str]) -> Path:
    """What of a model on the hub is needed, in the hub's cache."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        folder = _downloaded(name, [*FETCHED, *more])
        if not (folder / SINGLE).is_file() and (folder / INDEX).is_file():
            folder = _downloaded(name, [*FETCHED, *more, *_shards(folder / INDEX)])
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError) as error:
        raise _not_found(name, "the hub cannot be reached and the model is not in its cache") from error
    except GatedRepoError as error:
        what = f"{name} is gated on the hub: its owner gives it to those who ask"
        fix = "ask on the model's page, log in with `hf auth login`, or download it there and give its folder"
        raise ModelError(what, expected="a model that you may download", fix=fix) from error
    except RevisionNotFoundError as error:
        what = f"{name}: the hub has the model, and no revision of that name"
        raise ModelError(what, expected="id@revision with a branch, a tag, a commit, or refs/pr/1") from error
    except RepositoryNotFoundError as error:
        raise _not_found(name, "the hub knows no such model, or it is private") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        told = str(error).strip()
        raise _not_found(name, told.splitlines()[0] if told else type(error).__name__) from error
    if not any((folder / weights).is_file() for weights in (SINGLE, INDEX)):
        raise _without_safetensors(name, folder)
    return folder


def _downloaded(name: str, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    model, _, revision = name.partition("@")
    return Path(snapshot_download(model, revision=revision or None, allow_patterns=list(files)))


def _shards(index: Path) -> list[str]:
    """The files that an index names; what is wrong with it is told when it is loaded."""
    found = read_object(index).get("weight_map")
    names = set(found.values()) if isinstance(found, dict) else set()
    return sorted(name for name in names if isinstance(name, str) and name.endswith(".safetensors"))


def _without_safetensors(name: str, folder: Path) -> ModelError:
    """The hub has the model, but not in a form that is opened."""
    what = f"{name} has neither {SINGLE} nor {INDEX} on the hub"
    if not (folder / "config.json").is_file():
        return ModelError(
            f"{what}, and no config.json", expected="a model of transformers", fix="check the id on the hub"
        )
    fix = "give a revision that has them, such as the hub's own conversion (id@refs/pr/1), or convert them with transformers"
    expected = "weights as safetensors (pickled weights are never fetched nor opened: they can run code)"
    return ModelError(what, expected=expected, fix=fix)


def _not_found(name: str, reason: str) -> ModelError:
    what = f"{name} is no folder here, and no model that could be fetched from the hub ({reason})"
    return ModelError(
        what,
        expected="a model folder or a hub id",
        fix="check the spelling of the path or of the id, or download the model elsewhere and give its folder",
    )
