"""Each layer's scheme by what its rounding costs in divergence and what it costs in time: the cheapest that stays in a budget.

1. Each layer's divergence under each of its schemes is estimated in one pass (search/fisher.py).
2. The most accurate scheme of every layer gives the least divergence that can be had. The budget is that and an allowance: the
   setting ``allowance``, in points of error rate, at ``POINTS_A_NAT``.
3. Of all choices within the budget the one that takes the least time is found exactly, as an integer program (a
   multiple-choice knapsack; HiGHS through ``scipy.optimize.milp``).
4. The choice and the most accurate one are measured. While the choice diverges by more than the allowance beyond chance, the
   allowance is halved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stablequant.errors import SettingsError
from stablequant.observe.collect import Histograms
from stablequant.quantize import calibrated
from stablequant.quantize.options import RESIDUAL, options
from stablequant.quantize.scheme import LayerScheme, Scheme
from stablequant.search.fisher import Errors, Options, estimate
from stablequant.search.knapsack import pick
from stablequant.search.objective import POINTS_A_NAT
from stablequant.search.trials import Candidate, Outcome, Trials
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import paired_bootstrap

#: Audio in a batch of the estimate, padded, in seconds: a backward pass keeps what every layer computed.
SHORT_BATCH = 20.0
#: How often the allowance is halved before the most accurate schemes are taken.
ROUNDS = 3
#: Width of the codes of those, at most.
BITS = 8
#: Layer -> scheme's name -> what the layer takes in time: seconds an utterance, or multiplications.
Costs = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Choice:
    """What was chosen for one layer.

    Attributes:
        name: Of the scheme.
        nats: Estimated divergence a step that the layer's rounding causes under each of its schemes, and with a residual code.
        costs: Each scheme's cost, as a multiple of the cheapest,
        unit: in time, or in bytes.
    """

    name: str
    nats: Mapping[str, float]
    costs: Mapping[str, float]
    unit: Literal["time", "bytes"] = "time"


@dataclass(frozen=True)
class Budget:
    """The best choice of widths within some bytes.

    Attributes:
        share: What the model takes then, as a share of float32's bytes.
        nats: Its estimated divergence, a step.
        chosen: Whether it is the choice that was made.
    """

    share: float
    nats: float
    chosen: bool = False


@dataclass(frozen=True)
class Allocation:
    """What was chosen for the whole model.

    Attributes:
        choices: By layer.
        allowance: Points that cheaper schemes were allowed to cost in the end; 0: none was taken.
        chosen: The choice as it was measured on the dev speech.
        accurate: The most accurate schemes, likewise.
        within: What the choice had to keep to, where that is not the allowance,
        budgets: and what others would have given, the choice itself among them, the smallest first.
    """

    choices: Mapping[str, Choice]
    allowance: float
    chosen: Outcome
    accurate: Outcome
    within: str = ""
    budgets: tuple[Budget, ...] = ()


def allocate(trials: Trials, histograms: Histograms, settings: Settings, costs: Costs) -> Allocation:
    """Choose a scheme for every layer.

    Args:
        trials: On dev speech, by divergence.
        histograms: Of every activation.
        settings: The allowance, and on how many utterances errors are estimated.
        costs: What each layer's schemes take in time.

    Raises:
        SettingsError: The trials are not judged by divergence.
    """
    if not trials.objective.needs_float:
        what = f"an allocation by {trials.objective.name}"
        raise SettingsError(what, expected="trials by divergence", fix="--objective divergence")
    search = settings.search
    found = layer_options(trials, histograms, settings)
    errors = estimate(short(trials, settings), shown(found, histograms, settings))
    accurate = {layer: best(layer, errors, o) for layer, o in found.items()}
    for halvings in range(ROUNDS + 1):
        allowance = search.allowance / 2**halvings if halvings < ROUNDS else 0.0
        names = accurate if not allowance else cheapest(found, errors, costs, allowance / POINTS_A_NAT)
        reference, chosen = measure(trials, found, accurate, names)
        excess = paired_bootstrap(reference.score, chosen.score)
        if excess.low <= allowance / POINTS_A_NAT:
            break
    choices = {layer: choice(layer, names[layer], errors, costs[layer]) for layer in found}
    return Allocation(choices, allowance, chosen, reference)


def short(trials: Trials, settings: Settings) -> Trials:
    """Trials on the part of the speech that errors are estimated on, in batches that a backward pass has memory for."""
    data = settings.data
    drawn = trials.speech.draw(settings.search.estimate_utterances, data.seed)
    return trials.on(drawn, data.batch_size, min(SHORT_BATCH, data.batch_seconds))


def shown(found: Options, histograms: Histograms, settings: Settings) -> dict[str, dict[str, LayerScheme]]:
    """The schemes of each layer, and one that is not chosen: a residual code, which shows what one code costs.

    Products of activations are left out: their two inputs err together.
    """
    layers = {layer: schemes for layer, schemes in found.items() if len(histograms[layer]) == 1}
    if settings.activations.bits > BITS:  # left in float; what a code would cost is shown all the same
        settings = settings.updated(**{"activations.bits": BITS})
    return {
        layer: {
            RESIDUAL: calibrated.with_residual(histograms[layer][0], settings),
            **schemes,
        }
        for layer, schemes in layers.items()
    }


def layer_options(trials: Trials, histograms: Histograms, settings: Settings) -> dict[str, dict[str, LayerScheme]]:
    """The schemes of every observed layer."""
    model = trials.simulator.model
    return {
        op.name: options(model, op, histograms, settings) for op in model.ops(matmuls=True) if op.name in histograms
    }


def cheapest(found: Options, errors: Errors, costs: Costs, allowance: float) -> dict[str, str]:
    """The choice of least cost whose divergences add up to at most the least possible and ``allowance`` nats.

    Args:
        found: The schemes of each layer.
        errors: Their nats; of a layer with one scheme they need not be known.
        costs: Their costs.
        allowance: Nats a step.
    """
    open_ = {layer: schemes for layer, schemes in found.items() if len(schemes) > 1}
    accurate = {layer: best(layer, errors, schemes) for layer, schemes in found.items()}
    least = sum(errors[layer][accurate[layer]] for layer in open_)
    return accurate | (pick(open_, costs, errors, least + allowance) or {})


def best(layer: str, errors: Errors, schemes: Mapping[str, LayerScheme]) -> str:
    """The scheme of least estimated error; the one there is."""
    return min(schemes, key=lambda name: errors[layer][name]) if len(schemes) > 1 else next(iter(schemes))


def measure(trials: Trials, found: Options, *choices: Mapping[str, str]) -> list[Outcome]:
    """The divergence of whole models, each a scheme's name by layer; the first is the base of all."""
    labels = ("the most accurate schemes", "the cheapest schemes within the budget")
    schemes: list[Scheme] = [{layer: found[layer][name] for layer, name in names.items()} for names in choices]
    candidates = [Candidate(label, scheme) for label, scheme in zip(labels, schemes, strict=True)]
    return trials.run(candidates, "schemes within the budget", base=schemes[0])


def choice(
    layer: str, name: str, errors: Errors, costs: Mapping[str, float], unit: Literal["time", "bytes"] = "time"
) -> Choice:
    """What is told of a layer's scheme, with what the others would have cost."""
    least = min(costs.values()) or 1.0
    return Choice(name, errors.get(layer, {}), {n: cost / least for n, cost in costs.items()}, unit)
