"""Float fallback, where the plan still costs too much: leave the cheapest layers in float that bring it under the limit.

Greedy, forwards then backwards. Each round tries every suspect in float beside those already chosen. If one suffices,
the one of least price is taken; else the one that gains most words for its price, and another round follows. At the
end each choice is taken back, the dearest first, if the limit holds without it. That is the cheapest set that greedy
steps reach, not proven to be the cheapest of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stablequant.data.speech import Speech
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.search.stage1 import Sensitivity
from stablequant.search.trials import Candidate, Outcome, Trials
from stablequant.settings import Settings

#: Layers that are tried, those that stage 1 found to cost most.
SUSPECTS = 12


@dataclass(frozen=True)
class FloatFallback:
    """What was left in float, and what that brought.

    Attributes:
        scheme: Without the layers left in float.
        floats: Those layers, in the order of their choice, each with its price: bytes, or multiplications.
        before: Points on the dev speech above float, all layers quantised.
        after: The same, with those layers in float.
    """

    scheme: Scheme
    floats: Mapping[str, int]
    before: float
    after: float


def float_fallback(
    trials: Trials,
    reference: Outcome,
    scheme: Scheme,
    layers: Sequence[Sensitivity],
    prices: Mapping[str, int],
    settings: Settings,
) -> FloatFallback:
    """Leave layers of ``scheme`` in float until it costs at most the setting ``max_drop`` points on the dev speech.

    Args:
        trials: On the dev speech.
        reference: Float on it.
        scheme: What the search found.
        layers: Of stage 1; the costliest are suspected first.
        prices: What each layer costs in float.
        settings: Name the limit.

    Returns:
        The best that was reached, which may still be above the limit.
    """
    limit = settings.search.max_drop
    points = trials.objective.points
    drops: dict[frozenset[str], float] = {}

    def without(floats: frozenset[str]) -> Scheme:
        return {name: grids for name, grids in scheme.items() if name not in floats}

    def evaluate(choices: Sequence[frozenset[str]], title: str) -> None:
        new = [c for c in choices if c not in drops]
        candidates = [Candidate("float: " + (", ".join(sorted(c)) or "none"), without(c)) for c in new]
        if candidates:
            outcomes = trials.run(candidates, title, base=scheme)
            rates = [o.score.rate - reference.score.rate for o in outcomes]
            drops.update((c, points * rate) for c, rate in zip(new, rates, strict=True))

    chosen: frozenset[str] = frozenset()
    evaluate([chosen], "float fallback: the plan as it is")
    before = drops[chosen]
    suspects = [s.name for s in sorted(layers, key=lambda s: -s.delta) if s.name in scheme][:SUSPECTS]
    while limit is not None and drops[chosen] > limit and (left := [s for s in suspects if s not in chosen]):
        evaluate([chosen | {s} for s in left], f"float fallback: layer {len(chosen) + 1} in float")
        enough = [s for s in left if drops[chosen | {s}] <= limit]
        gain = {s: (drops[chosen] - drops[chosen | {s}]) / max(1, prices[s]) for s in left}
        best = min(enough, key=lambda s: prices[s]) if enough else max(left, key=lambda s: gain[s])
        if not enough and gain[best] <= 0:
            break  # nobody helps alone; more would be a guess
        chosen |= {best}
    for name in sorted(chosen, key=lambda s: -prices[s]):
        evaluate([chosen - {name}], "float fallback: is each needed?")
        if limit is not None and drops[chosen - {name}] <= limit:
            chosen -= {name}
    return FloatFallback(without(chosen), {s: prices[s] for s in sorted(chosen)}, before, drops[chosen])


def prices(simulator: Simulator, speech: Speech, by: str) -> dict[str, int]:
    """What each operation costs in float, by name.

    Args:
        simulator: Of the model.
        speech: Its first batch is transcribed to count multiplications.
        by: "bytes" beyond those in int8, or "multiplications".
    """
    model = simulator.model
    weights = {op.name: model.weight(op) for op in model.ops(matmuls=True)}
    if by == "bytes":
        return {name: 0 if weight is None else 3 * weight.numel() for name, weight in weights.items()}
    counted = Simulator(model, matmuls=True)
    model.frontend.recognize(counted.backend({}), speech.waveforms_of(speech.batches[0]))
    work = Counter[str]()
    for executor in counted.executors.values():
        work += executor.work
    return {name: work[name] for name in weights}
