"""The choice of schemes: exact against brute force, and on a real model within its budget."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
import support
from hypothesis import given, settings
from hypothesis import strategies as st

from stablequant.errors import SettingsError
from stablequant.jobs.open import simulator
from stablequant.quantize.options import RESIDUAL, STATIC
from stablequant.quantize.scheme import LayerScheme
from stablequant.search.allocate import Allocation, allocate, cheapest, layer_options
from stablequant.search.costs import modelled
from stablequant.search.objective import POINTS_A_NAT, Divergence, TaskError
from stablequant.search.trials import Trials
from stablequant.settings import Settings
from stablequant.tasks.task import task_of

SETTINGS = Settings(strategy="allocate", objective="divergence", cost="model", batch_size=4)
ANY = LayerScheme((), None)
numbers = st.floats(0.001, 10)
layers = st.lists(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=3), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(layers, st.floats(0, 10))
def test_the_choice_is_the_cheapest_within_the_budget(rows: list[list[tuple[float, float]]], allowance: float) -> None:
    found = {f"l{i}": {f"s{j}": ANY for j in range(len(row))} for i, row in enumerate(rows)}
    errors = {f"l{i}": {f"s{j}": e for j, (e, _) in enumerate(row)} for i, row in enumerate(rows)}
    costs = {f"l{i}": {f"s{j}": c for j, (_, c) in enumerate(row)} for i, row in enumerate(rows)}
    names = cheapest(found, errors, costs, allowance)
    total = sum(errors[layer][name] for layer, name in names.items())
    cost = sum(costs[layer][name] for layer, name in names.items())
    budget = sum(min(e.values()) for e in errors.values()) + allowance
    within = [
        sum(c for _, c in combination)
        for combination in product(*rows)
        if sum(e for e, _ in combination) <= budget * (1 + 1e-9)
    ]
    assert total <= budget * (1 + 1e-5)
    assert cost <= min(within) * (1 + 1e-5)


@cache
def run(allowance: float) -> tuple[Trials, Allocation]:
    chosen = SETTINGS.updated(allowance=allowance)
    runner = Trials(simulator(support.graft(), chosen), support.speech(), chosen, Divergence())
    histograms = {op.name: support.histograms("graft")[op.name] for op in support.graft().ops()}
    costs = modelled(runner.simulator, runner.speech, layer_options(runner, histograms, chosen))
    return runner, allocate(runner, histograms, chosen, costs)


def test_an_allocation_saves_time_within_what_it_may_cost() -> None:
    _, found = run(0.2)
    choices = found.choices
    assert list(choices) == [op.name for op in support.graft().ops()]
    assert choices["wavlm.feature_extractor.conv_layers.0.conv"].name == RESIDUAL
    open_to_choice = [c for c in choices.values() if len(c.costs) > 1]
    excess = sum(c.nats[c.name] - min(c.nats[n] for n in c.costs) for c in open_to_choice)
    assert 0 < excess <= found.allowance / POINTS_A_NAT * (1 + 1e-6)
    dearer = [c for c in open_to_choice if c.costs[c.name] > 1]
    assert 0 < len(dearer) < len(open_to_choice)
    assert found.chosen.score.rate < 2 * found.accurate.score.rate + found.allowance / POINTS_A_NAT
    _, none = run(0.0)
    assert none.chosen.candidate.scheme == none.accurate.candidate.scheme
    assert all(c.nats[c.name] == min(c.nats[n] for n in c.costs) for c in none.choices.values() if len(c.costs) > 1)


def test_every_error_of_one_input_is_told_also_that_of_a_residual_code() -> None:
    _, found = run(0.0)
    choices = [choice for choice in found.choices.values() if len(choice.nats) > 1]
    assert len(choices) > 40
    for choice in choices:
        assert choice.nats.keys() == choice.costs.keys() | {RESIDUAL}
    # A residual code is next to exact, but where it clips what calibration never saw.
    assert np.median([choice.nats[RESIDUAL] / choice.nats[STATIC] for choice in choices]) < 0.01


def test_an_allocation_by_error_rates_is_refused_with_the_fix() -> None:
    runner = Trials(simulator(support.graft(), SETTINGS), support.speech(), SETTINGS, TaskError(task_of(SETTINGS.data)))
    with pytest.raises(SettingsError, match=r"an allocation by answers\. Expected trials by divergence"):
        allocate(runner, support.histograms("graft"), SETTINGS, {})
