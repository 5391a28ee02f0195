"""What rounding is estimated to cost, against what it does cost when a trial measures it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import support
from scipy.stats import spearmanr

from stablequant.grid.unrounded import Unrounded
from stablequant.grid.weights import PerGroup, WeightSpec
from stablequant.jobs.open import simulator
from stablequant.quantize.options import options
from stablequant.quantize.scheme import LayerScheme
from stablequant.search import tapped
from stablequant.search.fisher import Errors, estimate
from stablequant.search.journal import Journal
from stablequant.search.objective import Divergence
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings

#: Coarse activations: what they cost is then far more than what 8-bit weights do, which the estimate leaves out.
SETTINGS = Settings.parse({"activations.bits": 5, "activations.convolutions": 5})
#: Layers of the whole network, in the encoder and in the decoder.
EVERY = {"graft": 4, "moonshine": 9}


def trials(name: str, journal: Path | None = None) -> Trials:
    model = simulator(support.MODELS[name](), SETTINGS)
    return Trials(model, support.speech(batch_size=2), SETTINGS, Divergence(), Journal(journal))


def some_options(name: str) -> dict[str, dict[str, LayerScheme]]:
    model = support.MODELS[name]()
    ops = model.ops()[1 :: EVERY[name]]
    return {op.name: options(model, op, support.histograms(name), SETTINGS) for op in ops}


@pytest.mark.parametrize("name", support.MODELS)
def test_the_estimate_ranks_schemes_as_trials_do_and_is_of_their_size(name: str) -> None:
    runner, choices = trials(name), some_options(name)
    estimated = estimate(runner, choices)
    pairs = [(layer, scheme) for layer, schemes in choices.items() for scheme in schemes]
    candidates = [Candidate(f"{layer} {scheme}", {layer: choices[layer][scheme]}) for layer, scheme in pairs]
    found = np.array([outcome.score.rate for outcome in runner.run(candidates, "each alone")])
    guessed = np.array([estimated[layer][scheme] for layer, scheme in pairs])
    assert spearmanr(guessed, found).statistic > 0.85
    small = found < 0.3  # beyond, a second order is not enough
    assert small.sum() > 10
    assert 0.4 < np.median(guessed[small] / found[small]) < 1.6


def test_a_finished_batch_is_not_computed_again_and_another_choice_is(tmp_path: Path) -> None:
    choices = some_options("graft")
    path = tmp_path / "trials.sqlite"
    first = trials("graft", path)
    found = estimate(first, choices)
    assert first.simulator.multiplications > 0
    first.journal.__exit__(None, None, None)
    again = trials("graft", path)
    assert estimate(again, choices) == found
    assert again.simulator.multiplications == 0
    assert again.cost.multiplications == first.cost.multiplications > 0
    fewer: Errors = estimate(again, dict(list(choices.items())[:1]))
    assert again.simulator.multiplications > 0
    (layer,) = fewer
    assert fewer[layer] == pytest.approx(found[layer])


def test_padding_costs_nothing() -> None:
    """A short utterance is estimated alike whether a long one stands beside it or not, but for the draw of signs."""
    choices = some_options("graft")
    together = estimate(trials("graft"), choices)
    runner = trials("graft")
    apart = [estimate(runner.on([i]), choices) for i in range(4)]
    steps = np.array([len(w) for w in runner.speech.waveforms], float)
    for layer, nats in together.items():
        for name, value in nats.items():
            mean = np.average([a[layer][name] for a in apart], weights=steps)
            assert value == pytest.approx(mean, rel=0.6), (layer, name)


def test_what_is_computed_again_in_stretches_is_what_one_pass_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    choices = some_options("moonshine")
    found = {}
    for stretch in (7, 10**6):
        monkeypatch.setattr(tapped, "STRETCH", stretch)
        found[stretch] = estimate(trials("moonshine"), choices)
    for layer, nats in found[7].items():
        assert nats == pytest.approx(found[10**6][layer], rel=0.02), layer


def test_the_rounding_of_weights_counts_where_it_is_asked_for_and_in_the_table_that_a_head_shares() -> None:
    runner, spec = trials("moonshine"), WeightSpec(4, PerGroup(64))
    names = ["proj_out", *(op.name for op in support.moonshine().ops() if op.name.endswith(("q_proj", "fc1")))][::3]
    choices = {name: {"4 bits": LayerScheme((Unrounded(),), spec)} for name in names}
    estimated = estimate(runner, choices, weights=True)
    candidates = [Candidate(name, {name: choices[name]["4 bits"]}) for name in names]
    found = np.array([outcome.score.rate for outcome in runner.run(candidates, "each alone")])
    guessed = np.array([estimated[name]["4 bits"] for name in names])
    assert 0.3 < guessed[0] / found[0] < 3
    assert spearmanr(guessed, found).statistic > 0.8
