"""What the settings of a run must keep to, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence

from stablequant.data.utterance import Utterance
from stablequant.errors import SettingsError
from stablequant.export.translate import BITS
from stablequant.grid.calibrators import require_calibrator
from stablequant.recipes import STAGED
from stablequant.settings import Settings


def require_possible(settings: Settings) -> None:
    """Raise SettingsError where no runtime has kernels for what would be exported, or settings do not go together."""
    for group in (settings.activations, settings.weights):
        if group.bits != BITS:
            what = f"setting bits is {group.bits}"
            raise SettingsError(what, expected=f"{BITS}: the width of the kernels that run the exported file")
    require_calibrator(settings.activations.calibrator)
    _require_strategy(settings)


def require_labels(utterances: Sequence[Utterance], settings: Settings) -> None:
    """Raise SettingsError if trials are to be judged by errors on speech without text."""
    search = settings.search
    if search.strategy == "none" or search.objective == "divergence" or all(u.text is not None for u in utterances):
        return
    what = "the speech has no text, and the paper's search (objective=task) judges every trial by its errors"
    fix = "judge by the divergence from the float model (the default recipe, or --objective divergence), or use --recipe fast"
    raise SettingsError(what, expected="speech with its text, or a run that needs none", fix=fix)


def _require_strategy(settings: Settings) -> None:
    """Raise SettingsError where settings ask for what the strategy does not do: it would be ignored."""
    strategy, scales = settings.search.strategy, settings.activations.scales
    if strategy == "allocate" and settings.search.objective != "divergence":
        what = "strategy=allocate with objective=task"
        expected = "objective=divergence, by which an allocation estimates what rounding costs"
        raise SettingsError(what, expected=expected, fix="leave the objective out, or use --recipe paper")
    if strategy != "none" and scales == "frame":
        what = f"scales=frame with strategy={strategy}"
        fix = "leave the search out (--recipe fast, or --set strategy=none), or use calibrated scales"
        raise SettingsError(what, expected="strategy=none: a scale a frame leaves nothing to clip", fix=fix)
    if settings.activations.decoder == "block" and scales != "frame" and strategy != "allocate":
        what = f"decoder=block with scales={scales} and strategy={strategy}"
        fix = "quantize with --recipe fast, or leave decoder out"
        raise SettingsError(
            what, expected="scales=frame, or strategy=allocate: a scale a block is not calibrated", fix=fix
        )
    usual, chosen = Settings().flat(), settings.flat()
    ignored = [name for name in STAGED if chosen[name] != usual[name]]
    if strategy not in ("exact", "racing") and ignored:
        what = f"{ignored[0]}={chosen[ignored[0]]} with strategy={strategy}"
        raise SettingsError(what, expected="a strategy with stages, which alone has this setting", fix="--recipe paper")
