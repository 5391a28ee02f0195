"""Which files hold a checkpoint's weights, and how they are read: as transformers does, safetensors alone.

``model.safetensors`` goes first, then the files that ``model.safetensors.index.json`` names (transformers,
``modeling_utils.py``). Others in the folder, such as shards of an earlier save, are no part of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stablequant.errors import ModelError
from stablequant.families.folder import INDEX, SINGLE
from stablequant.families.json_file import read_object

if TYPE_CHECKING:
    from torch import Tensor


def weight_files(folder: Path) -> list[Path]:
    """The checkpoint's safetensors files, sorted by name.

    Raises:
        ModelError: There are none, the index is damaged or names files that are not there, or an adapter lies beside them.
    """
    refuse_adapter(folder)
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if (folder / INDEX).exists():
        files = [folder / name for name in sorted(set(_index(folder).values()))]
        if gone := [path.name for path in files if not path.is_file()]:
            what = f"{folder / INDEX} names files that are not there: {', '.join(gone)}"
            raise ModelError(what, expected="every file of the checkpoint", fix="download the missing files")
        return files
    kinds = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.gguf")
    found, *others = (sorted(path.name for path in folder.glob(kind)) for kind in kinds)
    if found:
        what = f"{folder} has neither {SINGLE} nor {INDEX}, only {', '.join(found)}"
        raise ModelError(
            what, expected=f"weights in {SINGLE}", fix=f"rename the file to {SINGLE} if it is the whole model"
        )
    names = [name for group in others for name in group]
    raise ModelError(
        f"{folder} has no *.safetensors" + (f", only {', '.join(names)}" if names else ""),
        expected="weights as safetensors (pickled weights are never opened: they can run code)",
        fix="convert them with transformers: model.save_pretrained(folder)",
    )


def stray_files(folder: Path) -> tuple[str, ...]:
    """Names of the safetensors files in ``folder`` that are no part of the checkpoint; transformers leaves them out too."""
    own = weight_files(folder)
    return tuple(sorted(path.name for path in folder.glob("*.safetensors") if path not in own))


def refuse_adapter(folder: Path) -> None:
    """Make sure that the folder holds no adapter, which transformers would add to the weights if peft is installed.

    Raises:
        ModelError: It does.
    """
    for name in ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"):
        if (folder / name).exists():
            what = f"{folder / name} is an adapter (LoRA) for the weights"
            raise ModelError(
                what,
                expected="one set of weights, the adapter merged into them",
                fix="merge it first with peft: model.merge_and_unload().save_pretrained(folder)",
            )


def read_weights(folder: Path) -> tuple[dict[str, Tensor], dict[str, Path]]:
    """Every tensor of the checkpoint as it is stored, by its name, and the file that each stands in.

    Tensors are views of files that are mapped to memory: nothing is read before a value is asked for.

    Raises:
        ModelError: As `weight_files`; or a file is damaged, a tensor is in two of them, or not where the index says.
    """
    weights: dict[str, Tensor] = {}
    origin: dict[str, Path] = {}
    files = weight_files(folder)
    for path in files:
        part = read_file(path)
        if twice := sorted(part.keys() & weights.keys()):
            what = f"{path} holds tensors that {origin[twice[0]].name} holds too: {listed(twice)}"
            raise ModelError(what, expected="every tensor once", fix="download or save the model again")
        weights.update(part)
        origin.update(dict.fromkeys(part, path))
    if files[0].name != SINGLE:
        _check_index(folder, origin)
    return weights, origin


def read_file(path: Path) -> dict[str, Tensor]:
    """Every tensor of one safetensors file, by name.

    Raises:
        ModelError: The file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    # What is no header in UTF-8 comes as a ValueError; a file can be longer than the memory it is mapped to.
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        what = f"{path} cannot be read ({error})"
        raise ModelError(what, fix="download the file again") from error


def read_tensor(path: Path, name: str) -> Tensor:
    """One tensor of a safetensors file, through a mapping of its own, which goes when the tensor does.

    The tensors of `read_file` share one: what was read of them stays resident until the last is gone.

    Raises:
        ModelError: The file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensor: Tensor = file.get_tensor(name)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        what = f"{path} cannot be read ({error})"
        raise ModelError(what, fix="download the file again") from error
    return tensor


def listed(names: list[str], most: int = 10) -> str:
    """Names in a row, cut off where there are many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _index(folder: Path) -> Mapping[str, str]:
    """Which file each tensor is in."""
    path = folder / INDEX
    found: Any = read_object(path).get("weight_map")
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found.values()):
        what = f"{path} has no weight_map from tensors to files"
        raise ModelError(what, expected="the index that save_pretrained writes", fix="download the file again")
    strange = sorted(n for n in set(found.values()) if Path(n).name != n or not n.endswith(".safetensors") or "\0" in n)
    if strange:
        what = f"{path} names {strange[0]!r}"
        raise ModelError(what, expected="names of safetensors files in the same folder", fix="download the file again")
    return found


def _check_index(folder: Path, origin: Mapping[str, Path]) -> None:
    wrong = sorted(key for key, name in _index(folder).items() if key not in origin or origin[key].name != name)
    if wrong:
        what = f"{folder / INDEX} places tensors in files that do not hold them: {listed(wrong)}"
        raise ModelError(what, expected="an index and files of one save", fix="download or save the model again")
