"""Folds: exact rewritings of a model's weights, after which it computes the same and rounds better. One method a file.

A method takes a model, calibration speech (or ``None``) and options of its own, and returns a `Folded`. `fold_method`
registers one: in this package, or in the code of whoever tries out a new one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from stablequant.data.speech import Speech
from stablequant.errors import SettingsError
from stablequant.families.model import SpeechModel
from stablequant.quantize.folding.awq import awq
from stablequant.quantize.folding.folded import Folded
from stablequant.quantize.folding.rotate import rotate
from stablequant.quantize.folding.smooth import smooth

FoldMethod = Callable[..., Folded]

FOLDS: dict[str, FoldMethod] = {"smooth": smooth, "awq": awq, "rotate": rotate}

#: What every method takes; all else are options of its own.
_COMMON = ("model", "speech")


def fold_method(name: str) -> Callable[[FoldMethod], FoldMethod]:
    """Register a function as the fold ``name``, so that `stablequant.fold` can choose it.

    The function takes ``(model, speech=None, **options)`` and returns a `Folded`.

    Raises:
        SettingsError: There is a fold of this name.
    """

    def register(function: FoldMethod) -> FoldMethod:
        if FOLDS.setdefault(name, function) is not function:
            what = f"there is a fold {name!r} already"
            raise SettingsError(what, expected="a new name")
        return function

    return register


def fold(model: SpeechModel, speech: Speech | None, method: str, **options: Any) -> Folded:
    """Rewrite ``model`` by the fold called ``method``.

    Raises:
        SettingsError: The method or an option is unknown, or an option has an impossible value.
        DataError: The method is calibrated, and there is no speech.
    """
    if method not in FOLDS:
        what = f"fold {method!r} is unknown"
        raise SettingsError(what, expected=f"one of {', '.join(FOLDS)}")
    known = [option for option in inspect.signature(FOLDS[method]).parameters if option not in _COMMON]
    if unknown := sorted(set(options) - set(known)):
        what = f"fold {method!r} has no option {', '.join(unknown)}"
        raise SettingsError(what, expected=f"only {', '.join(known)}" if known else "no options")
    return FOLDS[method](model, speech, **options)
