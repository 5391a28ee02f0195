"""stablequant: small, fast int8 speech models, with the proof that they are no worse.

Each public name is imported when it is first used, so that ``import stablequant`` costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from stablequant.export.targets import Target, target
    from stablequant.families.checkpoint import load
    from stablequant.families.family import family
    from stablequant.grid.calibrators import calibrator
    from stablequant.grid.weights import PerChannel, PerGroup, PerTensor
    from stablequant.grid.weights import WeightSpec as Weights
    from stablequant.library.finetune import finetune
    from stablequant.library.run import Model, Run, export, open, quantize
    from stablequant.library.search import Trials, evolve, stage1, stage2
    from stablequant.library.speech import read_speech
    from stablequant.library.study import compare, evaluate, fold, observe, scheme, weights
    from stablequant.quantize.folding import fold_method
    from stablequant.search.objective import Divergence, TaskError
    from stablequant.settings import Settings
    from stablequant.tasks.task import task

#: Public name -> where it comes from; "module:name" where it has another name there.
_PUBLIC = {
    **dict.fromkeys(("Model", "Run", "export", "open", "quantize"), "library.run"),
    **dict.fromkeys(("Trials", "evolve", "stage1", "stage2"), "library.search"),
    **dict.fromkeys(("compare", "evaluate", "fold", "observe", "scheme", "weights"), "library.study"),
    "finetune": "library.finetune",
    "read_speech": "library.speech",
    **dict.fromkeys(("PerChannel", "PerGroup", "PerTensor"), "grid.weights"),
    **dict.fromkeys(("Divergence", "TaskError"), "search.objective"),
    **dict.fromkeys(("Target", "target"), "export.targets"),
    "Settings": "settings",
    "Weights": "grid.weights:WeightSpec",
    "calibrator": "grid.calibrators",
    "family": "families.family",
    "fold_method": "quantize.folding",
    "load": "families.checkpoint",
    "task": "tasks.task",
}

__all__ = [
    "Divergence",
    "Model",
    "PerChannel",
    "PerGroup",
    "PerTensor",
    "Run",
    "Settings",
    "Target",
    "TaskError",
    "Trials",
    "Weights",
    "calibrator",
    "compare",
    "evaluate",
    "evolve",
    "export",
    "family",
    "finetune",
    "fold",
    "fold_method",
    "load",
    "observe",
    "open",
    "quantize",
    "read_speech",
    "scheme",
    "stage1",
    "stage2",
    "target",
    "task",
    "weights",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _PUBLIC:
        what = f"module 'stablequant' has no attribute {name!r}"
        raise AttributeError(what)
    module, _, other = _PUBLIC[name].partition(":")
    return getattr(import_module(f"stablequant.{module}"), other or name)


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted(__all__)


class _FrontDoor(ModuleType):
    """This package as a module, in which the functions `observe` and `export` keep the names that two subpackages have too.

    Importing a subpackage would set it as an attribute and hide the function; it stays where imports look for it.
    """

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute, unless it would hide a public name behind a subpackage."""
        if not (name in _PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor
