"""The two stages of the search, one at a time, and the evolution of scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stablequant.data.speech import Speech
from stablequant.families.model import SpeechModel
from stablequant.jobs.open import simulator
from stablequant.observe.collect import Histograms
from stablequant.progress import Progress, silent
from stablequant.quantize.scheme import Scheme
from stablequant.search import evolve as evolution
from stablequant.search import trials as search_trials
from stablequant.search.exact import Exact
from stablequant.search.journal import Journal
from stablequant.search.objective import Objective, TaskError
from stablequant.search.pools import LocalPool
from stablequant.search.stage1 import Sensitivity
from stablequant.search.stage2 import PercentileSearch, search_p
from stablequant.search.trials import Candidate, Outcome
from stablequant.settings import Settings
from stablequant.tasks.task import task_of


def Trials(  # noqa: N802 - it makes one
    model: SpeechModel,
    speech: Speech,
    objective: Objective | None = None,
    *,
    journal: str | Path | None = None,
    workers: int = 1,
    progress: Progress = silent,
    **settings: Any,
) -> search_trials.Trials:
    """What evaluates candidate schemes on ``speech``.

    Args:
        model: What is quantised.
        speech: Dev speech.
        objective: `TaskError` (the default: the task's error rate) or `Divergence`, which needs no labels.
        journal: File that finished trials are kept in and found again; default: in memory.
        workers: Processes that share the work.
        progress: Told what is running.
        settings: Any of docs/settings.md.
    """
    chosen = Settings.parse(settings)
    return search_trials.Trials(
        simulator(model, chosen),
        speech,
        chosen,
        objective or TaskError(task_of(chosen.data).suited(speech.utterances)),
        Journal(None if journal is None else Path(journal)),
        progress,
        LocalPool(workers),
    )


@dataclass(frozen=True)
class Stage1:
    """What stage 1 found.

    Attributes:
        reference: Float on the dev speech.
        layers: Each layer's cost alone, in network order.
    """

    reference: Outcome
    layers: tuple[Sensitivity, ...]

    @property
    def flagged(self) -> tuple[str, ...]:
        """Names of the layers that cost more than gamma, the most sensitive first."""
        return tuple(s.name for s in sorted(self.layers, key=lambda s: -s.delta) if s.flagged)


def stage1(trials: search_trials.Trials, statistics: Histograms, **settings: Any) -> Stage1:
    """Quantise one layer at a time and flag those that cost more than ``gamma`` points (StableQuant, stage 1)."""
    trials = replace(trials, settings=trials.settings.updated(**settings))
    (reference,) = trials.run([Candidate("float", {})], "float")
    return Stage1(reference, tuple(Exact(trials, reference).sensitivity(statistics)))


def stage2(
    trials: search_trials.Trials, statistics: Histograms, flagged: Sequence[str], **settings: Any
) -> PercentileSearch:
    """Search the share p of outliers to clip from the flagged layers (StableQuant, stage 2): its ``p`` and ``scheme``."""
    trials = replace(trials, settings=trials.settings.updated(**settings))
    (reference,) = trials.run([Candidate("float", {})], "float")
    return search_p(Exact(trials, reference), statistics, flagged, trials.settings)


def evolve(
    trials: search_trials.Trials,
    scheme: Scheme,
    layers: Sequence[str] = (),
    *,
    evaluations: int = 60,
    seed: int | None = None,
) -> evolution.Evolved:
    """Evolve the calibrated activation scales of ``scheme`` until it errs least on the speech of ``trials`` (search/evolve.py).

    Args:
        trials: What evaluates a scheme; with a journal a stopped evolution goes on.
        scheme: As `scheme` or `stage2` made it.
        layers: Whose scales are evolved, such as those that stage 1 flagged; default: all that have one.
        evaluations: Schemes to evaluate at most.
        seed: Of the draws; default: the setting ``seed`` of ``trials``.

    Raises:
        SettingsError: Nothing can be evolved, or the package ``cma`` is missing (``pip install 'stablequant[evolve]'``).
    """
    seed = trials.settings.data.seed if seed is None else seed
    return evolution.evolve(trials, scheme, layers or list(scheme), evaluations, seed)
