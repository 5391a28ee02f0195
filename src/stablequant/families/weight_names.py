"""From the tensors of a file to the parameters of a model: every one is used once, or named in a message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stablequant.errors import ModelError
from stablequant.families.weight_files import listed, read_tensor
from stablequant.families.weight_shapes import DIRECTION, MAGNITUDE

if TYPE_CHECKING:
    from torch import Tensor

#: Tensors that serve training alone, or are computed afresh by every version of transformers since.
HARMLESS = re.compile(
    r"(^|\.)(masked_spec_embed|mask_emb)$"  # what masked frames are replaced with in training
    r"|^(quantizer|project_q|project_hid)\."  # heads of the pre-training
    r"|(^|\.)rotary_emb\.inv_freq$|(^|\.)position_ids$|(^|\.)num_batches_tracked$"
)
#: Suffixes of adapters that were saved among the weights.
ADAPTER = re.compile(r"\.lora_[AB]\.|\.lora_embedding_|\.modules_to_save\.|^base_model\.model\.")
#: What 8-bit and 4-bit formats keep beside or in place of a weight (bitsandbytes, GPTQ, AWQ, compressed-tensors).
QUANTISED = re.compile(
    r"\.(SCB|weight_format|absmax|quant_map|qweight|qzeros|scales|g_idx|weight_scale|weight_packed)$"
)
#: The types that widen to float32 without loss, and float64, which transformers narrows to it.
FLOATS = ("float32", "float16", "bfloat16", "float64")


def fit(
    weights: Mapping[str, Tensor],
    origin: Mapping[str, Path],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    base: str,
    tied: Mapping[str, str] | None = None,
) -> dict[str, Tensor]:
    """The model's parameters in float32, under the names of transformers' module.

    Args:
        weights: The checkpoint's tensors by their names in its files.
        origin: The file of each, for messages.
        shapes: Name and shape of the parameters that config.json calls for.
        base: Prefix that a checkpoint may lack, or have in excess: ``wav2vec2``, ``model``.
        tied: Parameter -> the one that it is the same as, by config.json. Where the checkpoint holds the two with
            different values they are not tied (transformers, ``PreTrainedModel.tie_weights``). The first of two tied
            parameters is not in the result.

    Raises:
        ModelError: Tensors are missing, left over, of another shape or type, or hold NaN or infinite values; names them.
    """
    own = _own(weights, shapes, base, tied or {})
    needed = {key: shape for key, shape in shapes.items() if key in own or key not in (tied or {})}
    _refuse_quantised({own[key]: weights[own[key]] for key in needed if key in own}, origin)
    _refuse_leftovers({key: own[key] for key in own if key not in needed}, origin)
    if missing := [key for key in needed if key not in own]:
        what = f"the checkpoint lacks {len(missing)} of the weights its config.json calls for: {listed(missing, 40)}"
        raise ModelError(what, expected="a complete checkpoint", fix="download or save the model again")
    _check_shapes({own[key]: weights[own[key]] for key in needed}, {own[key]: needed[key] for key in needed}, origin)
    floats = {key: widened(own[key], weights[own[key]], origin[own[key]]) for key in needed}
    for name, other in (tied or {}).items():
        if name in floats and floats[name].equal(floats[other]):
            del floats[name]
    return floats


def places(
    weights: Mapping[str, Tensor],
    fitted: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    base: str,
    tied: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Where `fit` found what is ``fitted``: tensor in the files -> its parameter, of two tied ones the one that serves for both.

    Tensors that are no parameters are left out. Other arguments are those of `fit`.
    """
    found = {}
    for name, stored in _own(weights, shapes, base, tied or {}).items():
        parameter = name if name in fitted else (tied or {}).get(name, "")
        if parameter in fitted:
            found[stored] = parameter
    return found


def _own(
    weights: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], base: str, tied: Mapping[str, str]
) -> dict[str, str]:
    """`_renamed`, with one name for both of two tied parameters where the checkpoint has one of them."""
    own = _renamed(weights, shapes, base)
    for name, other in tied.items():
        # Whichever of the two the checkpoint has serves for both.
        if name in own and other not in own:
            own[other] = own.pop(name)
    return own


def _renamed(weights: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], base: str) -> dict[str, str]:
    """The parameter that each tensor is for -> the tensor's name in the file."""
    found: dict[str, str] = {}
    for stored in weights:
        name = re.sub(r"\.weight_g$", f".{MAGNITUDE}", re.sub(r"\.weight_v$", f".{DIRECTION}", stored))
        if name.startswith(f"{base}.") and name.removeprefix(f"{base}.") in shapes:
            name = name.removeprefix(f"{base}.")
        elif f"{base}.{name}" in shapes:
            name = f"{base}.{name}"
        if name in found:
            what = f"the checkpoint holds {name} twice, as {found[name]} and as {stored}"
            raise ModelError(what, expected="every tensor once", fix="save the model again with save_pretrained")
        found[name] = stored
    return found


def _refuse_quantised(weights: Mapping[str, Tensor], origin: Mapping[str, Path]) -> None:
    for name, weight in weights.items():
        kind = str(weight.dtype).removeprefix("torch.")
        if kind not in FLOATS:
            raise _quantised(origin[name], name, kind)


def _quantised(path: Path, name: str, kind: str = "") -> ModelError:
    found = f"{path} holds {name}" + (f" as {kind}" if kind else "")
    return ModelError(
        f"{found}: these weights are quantised already",
        expected="float32, float16 or bfloat16 weights",
        fix="give the float checkpoint that these were quantised from",
    )


def _refuse_leftovers(left: Mapping[str, str], origin: Mapping[str, Path]) -> None:
    strange = sorted(stored for name, stored in left.items() if not HARMLESS.search(name))
    if not strange:
        return
    if marks := [name for name in strange if QUANTISED.search(name)]:
        raise _quantised(origin[marks[0]], marks[0])
    what = f"{origin[strange[0]]} holds {len(strange)} tensors that its config.json has no place for: {listed(strange)}"
    if any(ADAPTER.search(name) for name in strange):
        raise ModelError(
            what,
            expected="weights with their adapter (LoRA) merged into them",
            fix="merge it first with peft: model.merge_and_unload().save_pretrained(folder)",
        )
    raise ModelError(
        what,
        expected="weights that are all used",
        fix="copy the config.json that belongs to them, or load the model with transformers and save_pretrained",
    )


def _check_shapes(
    weights: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], origin: Mapping[str, Path]
) -> None:
    wrong = [key for key, weight in weights.items() if tuple(weight.shape) != shapes[key]]
    if wrong:
        each = [f"{key} {list(weights[key].shape)} instead of {list(shapes[key])}" for key in wrong]
        what = f"{origin[wrong[0]]} holds {len(wrong)} tensors of other shapes than its config.json calls for: "
        raise ModelError(
            what + listed(each),
            expected="the config.json that belongs to the weights",
            fix="copy it again, or download or save the model again",
        )


def widened(name: str, weight: Tensor, path: Path) -> Tensor:
    """The tensor called ``name`` in ``path`` as float32: the view of the file that it is, or a copy of what has another type.

    Raises:
        ModelError: It is of another type than a float's, or holds NaN or infinite values.
    """
    _refuse_quantised({name: weight}, {name: path})
    # Read anew, what is narrower does not stay in memory beside its copy.
    floats = weight if str(weight.dtype) == "torch.float32" else read_tensor(path, name).float()
    # A sum is finite unless a part of it is not, or it overflows: it is read faster than each value is looked at.
    if not floats.sum().isfinite() and not floats.isfinite().all():
        what = f"{path} holds NaN or infinite values in {name}"
        raise ModelError(
            what,
            expected="finite weights",
            fix="use an earlier checkpoint of the training, or save it in float32: float16 may have overflowed",
        )
    return floats
