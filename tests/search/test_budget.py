"""Widths within a budget of bytes or of divergence, on a real model."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import support

from stablequant.errors import SettingsError
from stablequant.jobs.open import simulator
from stablequant.jobs.quantize import quantize
from stablequant.quantize.bits import average_bits
from stablequant.search.allocate import Allocation
from stablequant.search.budget import BUDGETS, require_room, within_budget
from stablequant.search.objective import Divergence
from stablequant.search.trials import Trials
from stablequant.settings import Settings

SETTINGS = Settings(strategy="allocate", objective="divergence", batch_size=4)


@cache
def trials() -> Trials:
    """One for all budgets: weights are rounded, and errors estimated, once."""
    return Trials(simulator(support.graft(), SETTINGS), support.speech(), SETTINGS, Divergence())


@cache
def found(**budget: Any) -> Allocation:
    histograms = {op.name: support.histograms("graft")[op.name] for op in support.graft().ops()}
    return within_budget(trials(), histograms, SETTINGS.updated(**budget))


def share(allocation: Allocation) -> float:
    """Bytes of the whole model against float32's."""
    model = support.graft()
    weights = model.layer_weights()
    count = sum(weight.numel() for weight in weights.values())
    bits = average_bits(weights, allocation.chosen.candidate.scheme)
    return (model.float_bytes - 4 * count + bits * count / 8) / model.float_bytes


def test_weights_take_what_they_may_and_cost_more_the_less_they_take() -> None:
    loose, tight = found(target_bytes=0.24), found(target_bytes=0.2)
    for allocation, most in ((loose, 0.24), (tight, 0.2)):
        assert most - 0.005 < share(allocation) <= most
        assert allocation.within.endswith(f"at most {most:g} of float32's bytes")
        widths = {s.weight.bits for s in allocation.chosen.candidate.scheme.values() if s.weight}
        assert widths == {4, 8}
    assert loose.accurate.score.rate < loose.chosen.score.rate < tight.chosen.score.rate
    # The layers that the looser budget leaves at 8 bits are those whose 4 bits cost most for what they save.
    eight = {layer for layer, choice in loose.choices.items() if choice.costs[choice.name] > 1}
    narrow = {layer for layer, choice in tight.choices.items() if choice.name.startswith("4 bits")}
    assert len(narrow) > len(loose.choices) - len(eight) > 0


def test_a_divergence_is_kept_to_in_fewer_bytes_the_larger_it_is() -> None:
    least = found(target_bytes=0.24).accurate.score.rate
    near, far = found(max_divergence=1.5 * least), found(max_divergence=4 * least)
    assert near.chosen.score.rate <= 1.5 * least
    assert far.chosen.score.rate <= 4 * least
    assert share(far) < share(near)


def test_a_divergence_that_the_most_accurate_widths_alone_keep_to_is_kept_to() -> None:
    least = found(target_bytes=0.24).accurate.score.rate
    nearly = found(max_divergence=1.0001 * least)
    assert nearly.chosen.score.rate <= 1.0001 * least


def test_what_no_choice_keeps_to_is_refused_with_the_least(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"target_bytes is 0\.1, and the narrowest weights take 0\.1\d+ of float32's"
    ):
        found(target_bytes=0.1)
    require_room(support.graft(), SETTINGS.updated(target_bytes=0.2))
    with pytest.raises(SettingsError, match=r"Expected a share of at least 0\.1\d+"):  # before any speech is read
        quantize(str(support.GRAFT), ["nowhere"], tmp_path, SETTINGS.updated(target_bytes=0.1))
    with pytest.raises(
        SettingsError, match=r"max_divergence is 1e-09 nats a step, and the most accurate widths diverge by"
    ):
        found(max_divergence=1e-9)


def test_other_budgets_are_told_as_choosing_within_them_would_have_it() -> None:
    loose, tight = found(target_bytes=0.24), found(target_bytes=0.2)
    shares, nats = [b.share for b in loose.budgets], [b.nats for b in loose.budgets]
    assert len(shares) >= BUDGETS
    assert shares == sorted(shares)
    assert nats == sorted(nats, reverse=True)
    for allocation in (loose, tight):
        (own,) = (b for b in allocation.budgets if b.chosen)
        assert own.share == pytest.approx(share(allocation))
        estimates = [choice.nats.get(choice.name, 0.0) for choice in allocation.choices.values()]
        assert own.nats == pytest.approx(sum(estimates))
    # What was chosen within the tighter budget lies where the looser one's row has it.
    (own,) = (b for b in tight.budgets if b.chosen)
    assert all(b.nats >= own.nats for b in loose.budgets if b.share <= own.share)
    assert all(b.nats <= own.nats for b in loose.budgets if b.share >= 0.2)
