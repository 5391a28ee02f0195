"""Each layer's width within a budget: of bytes, diverging as little as can be; or of divergence, in as few bytes as can be.

1. What rounding activations and weights costs in divergence is estimated for every scheme of every layer in one pass
   (search/fisher.py).
2. A multiple-choice knapsack over the layers (search/knapsack.py) has the best choice within the budget.
3. The choice is measured. A budget of divergence that is exceeded is tightened by as much, since estimates add up layers that
   err together.
4. What a row of other budgets would have given follows from the same estimates: nothing more is run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from stablequant.errors import SettingsError
from stablequant.families.model import SpeechModel
from stablequant.observe.collect import Histograms
from stablequant.quantize.bits import stored_bits
from stablequant.quantize.options import narrowest
from stablequant.search.allocate import Allocation, Budget, best, choice, layer_options, measure, short, shown
from stablequant.search.fisher import Errors, Options, estimate
from stablequant.search.knapsack import pick
from stablequant.search.trials import Trials
from stablequant.settings import Settings

#: How often a budget of divergence is tightened.
ROUNDS = 4
#: Budgets of bytes between the narrowest weights and the most accurate ones.
BUDGETS = 16


def within_budget(trials: Trials, histograms: Histograms, settings: Settings) -> Allocation:
    """Choose the width of every layer.

    Args:
        trials: On dev speech, by divergence.
        histograms: Of every activation.
        settings: ``target_bytes`` or ``max_divergence``.

    Raises:
        SettingsError: No choice keeps to the budget; tells what the least is.
    """
    search, model = settings.search, trials.simulator.model
    require_room(model, settings)
    found = layer_options(trials, histograms, settings)
    errors = estimate(short(trials, settings), shown(found, histograms, settings), weights=True)
    layers = {layer: found[layer] for layer in errors}
    size = _bytes(model, found)
    accurate = {layer: best(layer, errors, schemes) for layer, schemes in found.items()}
    if search.target_bytes is not None:
        names = accurate | _smallest_divergence(model, layers, errors, size, search.target_bytes)
        reference, chosen = measure(trials, found, accurate, names)
        told = f"weights of at most {search.target_bytes:g} of float32's bytes"
    else:
        assert search.max_divergence is not None
        limit = estimated = search.max_divergence
        for _ in range(ROUNDS):
            names = accurate | (pick(layers, size, errors, estimated) or {})
            reference, chosen = measure(trials, found, accurate, names)
            if chosen.score.rate <= limit or names == accurate:
                break
            estimated *= 0.9 * limit / chosen.score.rate
        if chosen.score.rate > limit:
            names, chosen = accurate, reference
        if chosen.score.rate > limit:
            what = f"max_divergence is {limit:g} nats a step, and the most accurate widths diverge by {reference.score.rate:.3g}"
            raise SettingsError(what, expected="a limit that some choice of widths keeps to")
        told = f"a divergence of at most {limit:g} nats a step"
    choices = {layer: choice(layer, names[layer], errors, size[layer], "bytes") for layer in found}
    others = budgets(model, layers, errors, size, {layer: names[layer] for layer in layers})
    return Allocation(choices, 0.0, chosen, reference, told, others)


def require_room(model: SpeechModel, settings: Settings) -> None:
    """Raise SettingsError if even the narrowest weights of ``model`` take more than ``target_bytes``; needs no speech."""
    share, held = settings.search.target_bytes, model.layer_weights()
    if share is None:
        return
    layers = {op.name: narrowest(op, settings) for op in model.ops()}
    taken = sum(min(stored_bits(held[layer], spec) for spec in specs) / 8 for layer, specs in layers.items())
    least = (_rest(model, layers) + taken) / model.float_bytes
    if share < least:
        what = f"target_bytes is {share:g}, and the narrowest weights take {least:.3f} of float32's bytes"
        raise SettingsError(what, expected=f"a share of at least {math.ceil(1000 * least) / 1000:g}")


def budgets(
    model: SpeechModel, layers: Options, errors: Errors, size: dict[str, dict[str, float]], names: Mapping[str, str]
) -> tuple[Budget, ...]:
    """The best choice within each of a row of budgets, and the one that was made, by bytes.

    Args:
        model: Whose weights they are.
        layers: The schemes of each.
        errors: Their estimated nats.
        size: Their bytes.
        names: What was chosen.
    """

    def told(choice: Mapping[str, str], *, chosen: bool = False) -> Budget:
        taken = sum(size[layer][name] for layer, name in choice.items())
        nats = sum(errors[layer][name] for layer, name in choice.items())
        return Budget((_rest(model, layers) + taken) / model.float_bytes, nats, chosen)

    least = sum(min(size[layer].values()) for layer in layers)
    most = sum(size[layer][best(layer, errors, schemes)] for layer, schemes in layers.items())
    # A little more than the least, which rounding could leave without a choice.
    rooms = np.linspace(least * (1 + 1e-6), max(least, most), BUDGETS)
    found = [told(choice) for room in rooms if (choice := pick(layers, errors, size, float(room))) is not None]
    own = told(names, chosen=True)
    kept = {round(b.share, 6): b for b in [*found, own]}
    return tuple(kept[share] for share in sorted(kept))


def _rest(model: SpeechModel, layers: Iterable[str]) -> int:
    """Bytes of what is not chosen between: all but the weights of ``layers``, in float."""
    held = model.layer_weights()
    return model.float_bytes - 4 * sum(held[layer].numel() for layer in layers)


def _smallest_divergence(
    model: SpeechModel, found: Options, errors: Errors, size: dict[str, dict[str, float]], share: float
) -> dict[str, str]:
    """The choice that diverges least of those whose weights take at most ``share`` of float32's bytes."""
    names = pick(found, errors, size, share * model.float_bytes - _rest(model, found))
    assert names is not None, "require_room has seen that there is a choice"
    return names


def _bytes(model: SpeechModel, found: Options) -> dict[str, dict[str, float]]:
    """Bytes of each layer's weight under each of its schemes."""
    held = model.layer_weights()
    return {
        layer: {
            name: stored_bits(held[layer], scheme.weight) / 8 if scheme.weight else 0.0
            for name, scheme in schemes.items()
        }
        for layer, schemes in found.items()
    }
