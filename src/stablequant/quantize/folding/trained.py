"""Weights that lie on the grid that they will be rounded to: a fold would move them off it, and what was trained be lost."""

from __future__ import annotations

from dataclasses import replace

from stablequant.families.model import SpeechModel
from stablequant.grid.weights import WeightSpec, quantize_weight, stretched
from stablequant.quantize.scheme import weight_spec
from stablequant.settings import Settings

#: Layers that are looked at, at most.
LAYERS = 16
#: Of a step: how far a weight is off its code that was stored in half precision; by chance one in 25 weights is as near.
NEAR = 0.02


def left_if_trained(model: SpeechModel, settings: Settings) -> tuple[SpeechModel, Settings]:
    """Both as they are, or without a fold and with a note that says so, if the weights are on their grid."""
    method = settings.fold
    if method == "none" or not on_their_grid(model, weight_spec(settings.weights)):
        return model, settings
    note = f"the weights lie on their grid, as finetune leaves them: fold={method} would move them off it, and was not done"
    return replace(model, notes=(*model.notes, note)), settings.updated(fold="none")


def on_their_grid(model: SpeechModel, spec: WeightSpec) -> bool:
    """Whether more than half of the weights are what their nearest codes stand for, as training for ``spec`` leaves them.

    Zeros, of which a pruned checkpoint has many, are on every grid and tell nothing.
    Folded norms, and groups whose largest weight has shrunk, are not on their grid after training either (docs/finetune.md).
    """
    weights, nearest = model.layer_weights(), replace(spec, rounding="nearest", correct_bias=False)
    count = near = 0
    for layer in list(weights)[:: -(-len(weights) // LAYERS)]:
        held = quantize_weight(weights[layer], nearest)
        rows = weights[layer].flatten(1)
        off = (held.dequantized().flatten(1) - rows).abs()
        near += int(((off <= NEAR * stretched(held.scales, rows.shape, nearest)) & (rows != 0)).sum())
        count += int(rows.count_nonzero())
    return 2 * near > count
