"""What the settings of a run must keep to, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence

from stablequant.data.utterance import Utterance
from stablequant.errors import SettingsError
from stablequant.export.kernels import BITS, KERNELS, has_kernels
from stablequant.grid.calibrators import require_calibrator
from stablequant.recipes import STAGED
from stablequant.settings import Settings


def require_possible(settings: Settings) -> None:
    """Raise SettingsError where no runtime has kernels for what would be exported, or settings do not go together."""
    _require_kernels(settings)
    _require_budget(settings)
    require_calibrator(settings.activations.calibrator)
    _require_strategy(settings)


def _require_kernels(settings: Settings) -> None:
    """Raise SettingsError where no runtime could run what would be exported."""
    activations, weights = settings.activations, settings.weights
    forms = {(weights.bits, weights.group), (weights.step_bits or weights.bits, weights.step_group or weights.group)}
    for bits, group in forms:
        if not has_kernels(activations.bits, bits, group):
            what = f"weights of {bits} bits{f' in groups of {group}' if group else ''} and activations of {activations.bits}"
            fix = "choose widths that have, or measure others in the simulation (docs/bits.md)"
            raise SettingsError(what, expected=KERNELS, fix=fix)
    blocks = any(group for _, group in forms) or activations.bits != BITS
    if (activations.convolutions, weights.convolutions) != (BITS, BITS):
        what = f"convolutions of {weights.convolutions} bits and activations of {activations.convolutions}"
        raise SettingsError(what, expected=f"{BITS}, the only width that kernels of convolutions have")
    if blocks and settings.search.strategy in ("exact", "racing"):
        what = f"weights in groups, or activations of other than {BITS} bits, with strategy={settings.search.strategy}"
        fix = "quantize with --recipe default or fast"
        raise SettingsError(
            what, expected="strategy=allocate or none: the paper's stages have calibrated scales", fix=fix
        )
    if blocks and settings.search.strategy == "none" and activations.scales != "frame":
        what = f"weights in groups, or activations of other than {BITS} bits, with calibrated scales"
        raise SettingsError(what, expected="scales=frame: a scale a block is not calibrated", fix="--recipe fast")


def _require_budget(settings: Settings) -> None:
    """Raise SettingsError where a budget of bytes or divergence stands beside what it is to decide."""
    search, weights = settings.search, settings.weights
    if not search.mixed:
        return
    given = weights.bits, weights.group, weights.step_bits, weights.step_group, settings.activations.bits
    if given != (BITS, None, None, None, BITS) or search.strategy != "allocate":
        what = "target_bytes or max_divergence beside widths of weights or activations, or without strategy=allocate"
        raise SettingsError(what, expected="a budget alone: it gives each layer a width", fix="leave the widths out")
    if search.target_bytes is not None and search.max_divergence is not None:
        what = "target_bytes and max_divergence"
        raise SettingsError(what, expected="one of them: each of the two is kept as low as the other allows")


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
