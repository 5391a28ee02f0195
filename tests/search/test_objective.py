"""Objectives: the divergence needs no labels, and the exact search under it is the naive one to the last bit."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import support
from numpy.typing import NDArray

from stablequant.data.speech import Speech
from stablequant.errors import SettingsError
from stablequant.jobs.open import simulator
from stablequant.network.execute import TorchBackend
from stablequant.observe.collect import Histograms
from stablequant.quantize.scheme import Scheme
from stablequant.search.journal import Journal
from stablequant.search.naive import NaiveTrials
from stablequant.search.objective import POINTS_A_NAT, Divergence, Objective, TaskError
from stablequant.search.stages import Found, search
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings
from stablequant.tasks.task import task_of

#: Layers in the first graph and, where there is one, in the decoder.
EVERY = {"graft": slice(None, None, 6), "moonshine": slice(2, None, 16)}
#: Some layers cost more nats than this stands for, some less.
SETTINGS = Settings(bits=6, gamma=1.0, p_max=0.4, p_step=0.2)


@cache
def speech() -> Speech:
    return support.speech(batch_size=2)


def histograms(name: str) -> Histograms:
    found = support.histograms(name)
    names = [op.name for op in support.MODELS[name]().ops()][EVERY[name]]
    return {layer: found[layer] for layer in names}


def trials(name: str, objective: Objective, kind: type[Trials] = Trials, settings: Settings = SETTINGS) -> Trials:
    return kind(simulator(support.MODELS[name](), settings), speech(), settings, objective)


@cache
def found(name: str, kind: type[Trials]) -> Found:
    return search(trials(name, Divergence(), kind), histograms(name), SETTINGS)


@pytest.mark.parametrize("name", EVERY)
def test_the_exact_search_by_divergence_finds_what_the_naive_one_finds(name: str) -> None:
    naive, exact = found(name, NaiveTrials), found(name, Trials)
    flags = [layer.flagged for layer in naive.layers]
    assert any(flags)
    assert not all(flags)
    assert len({t.rate for t in naive.stage2.trials}) > 1
    # Divergences, rates, intervals, flags, p, scales: all of it, to the last bit.
    assert replace(exact, spent=naive.spent) == naive
    assert exact.spent.evaluations < naive.spent.evaluations


@pytest.mark.parametrize("name", EVERY)
def test_float_diverges_from_itself_by_nothing_and_costs_are_in_points(name: str) -> None:
    exact = found(name, Trials)
    assert exact.reference.score.metric == "KL"
    assert exact.reference.score.rate == 0.0
    for layer in exact.layers:
        assert layer.rate > 0.0
        assert layer.delta == pytest.approx(POINTS_A_NAT * layer.rate)
        assert layer.flagged == (layer.delta > SETTINGS.search.gamma)


def logits(
    backend: TorchBackend, name: str, scheme: Scheme, tokens: list[tuple[int, ...]]
) -> list[NDArray[np.float64]]:
    """Of each recording alone, the decoder given ``tokens``: no batch, no shared layers."""
    frontend = support.MODELS[name]().frontend
    float_backend = simulator(support.MODELS[name](), SETTINGS).backend({})
    result = []
    for sound, ids in zip(speech().waveforms, tokens, strict=True):
        features = frontend.features([sound])
        (answer,) = frontend.head.read(float_backend, frontend.encode(float_backend, features), features.sizes)
        assert answer.tokens == ids
        result.append(frontend.head.logits(backend, frontend.encode(backend, features), [answer])[0].astype(np.float64))
    return result


@pytest.mark.parametrize("name", EVERY)
def test_a_reading_is_the_divergence_of_the_two_models_on_that_recording_alone(name: str) -> None:
    scheme = support.scheme(name, "max", bits=6)
    runner = trials(name, Divergence())
    (outcome,) = runner.run([Candidate("all", scheme)], "all")
    words = trials(name, TaskError(task_of(SETTINGS.data)))
    (answers,) = words.run([Candidate("float", {})], "float")
    tokens = [answer.tokens for answer in answers.readings]
    p, q = (logits(runner.simulator.backend(s), name, s, tokens) for s in ({}, scheme))
    for reading, a, b in zip(outcome.readings, p, q, strict=True):
        share = np.exp(a) / np.exp(a).sum(-1, keepdims=True)
        other = np.exp(b) / np.exp(b).sum(-1, keepdims=True)
        assert reading.steps == len(a)
        # A company of unequal lengths changes sums in their last digits.
        assert reading.nats == pytest.approx(float((share * np.log(share / other)).sum()), rel=1e-2)


def test_a_journal_of_divergences_is_found_again(tmp_path: Path) -> None:
    candidates = [Candidate("float", {}), *(Candidate(n, {n: s}) for n, s in support.scheme("graft", "max").items())][
        :4
    ]
    path = tmp_path / "trials.sqlite"
    with Journal(path) as journal:
        first = replace(trials("graft", Divergence()), journal=journal).run(candidates, "first")
        assert len(journal) == 4 * len(speech().batches)
    with Journal(path) as journal:
        runner = replace(trials("graft", Divergence()), journal=journal)
        before = runner.simulator.multiplications
        assert runner.run(candidates, "again") == first
        assert runner.simulator.multiplications == before == 0
        assert len(journal) == 4 * len(speech().batches)
        # Divergences are never taken for answers.
        words = replace(trials("graft", TaskError(task_of(SETTINGS.data))), journal=journal)
        (answers,) = words.run(candidates[:1], "float")
        assert answers.score.metric == "WER"
        assert len(journal) == 5 * len(speech().batches)


def test_a_race_by_divergence_is_refused_with_the_fix() -> None:
    settings = SETTINGS.updated(strategy="racing")
    runner = trials("graft", Divergence(), settings=settings)
    with pytest.raises(
        SettingsError, match=r"a race by KL\. Expected .* whole errors\. Fix: use --recipe paper, or the strategy exact"
    ):
        search(runner, histograms("graft"), settings)
