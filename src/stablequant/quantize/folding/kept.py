"""The factors of a fold, kept in a file: a run that goes on, and whoever opens its plan, folds as the run did."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from stablequant.data.speech import Speech
from stablequant.errors import PlanError
from stablequant.families.model import SpeechModel
from stablequant.files import json_value, replacing
from stablequant.observe.cached import identity
from stablequant.quantize.folding import fold
from stablequant.quantize.folding.scales import fold_scales

if TYPE_CHECKING:
    from torch import Tensor

#: In the folder of a run.
NAME = "fold.safetensors"
#: Raised when the same speech would give other factors than in an earlier version.
VERSION = 1


def folded_once(model: SpeechModel, speech: Speech, method: str, path: Path, known: Iterable[Path] = ()) -> SpeechModel:
    """``model`` folded by a method of `scales.KINDS`, with the factors in ``path``, which are made for ``speech`` at first.

    Args:
        model: As its checkpoint has it.
        speech: Calibration speech.
        method: Its name.
        path: Where the factors are kept.
        known: Other files that they may be found in.

    Raises:
        ResourceError: The file cannot be written.
    """
    meta = {**identity(model, speech), "method": method, "version": VERSION}
    found = next((held[1] for file in (path, *known) if (held := _read(file)) and held[0] == meta), None)
    factors = fold(model, speech, method).factors if found is None else found
    _write(path, meta, factors)
    return _refolded(model, method, factors)


def refolded(model: SpeechModel, folder: Path, method: str) -> SpeechModel:
    """``model`` as the run in ``folder`` folded it.

    Raises:
        PlanError: The factors are missing or damaged, or of another checkpoint.
    """
    path = folder / NAME
    held = _read(path)
    if held is None or held[0].get("method") != method:
        what = f"{path} does not hold the factors of this plan's fold ({method})"
        raise PlanError(what, expected=f"the {NAME} of the same run", fix="run stablequant quantize again")
    meta, factors = held
    if meta.get("model") != model.fingerprint:
        what = f"{path} was made for another checkpoint ({str(meta.get('model'))[:12]}) than this ({model.fingerprint[:12]})"
        raise PlanError(what, expected="the checkpoint of the plan", fix="say where it is with --checkpoint")
    try:
        return _refolded(model, method, factors)
    except (KeyError, RuntimeError) as error:
        what = f"{path} does not fit the model: {error}"
        raise PlanError(what, expected=f"the {NAME} of the same run", fix="run stablequant quantize again") from error


def _refolded(model: SpeechModel, method: str, factors: Mapping[str, Tensor]) -> SpeechModel:
    # What a fold leaves alone is for who studies folds; it is nothing that a user has to look at.
    return replace(fold_scales(method, model, lambda site, _: factors[site.observed]).model, notes=model.notes)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """What the factors were made from, and they; ``None`` if there are none."""
    try:
        with safe_open(path, "pt") as file:
            meta = dict(json_value((file.metadata() or {})["stablequant"]))
            return meta, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, meta: Mapping[str, Any], factors: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save

    with replacing(path) as part:
        part.write_bytes(save(dict(factors), {"stablequant": json.dumps(meta)}))
