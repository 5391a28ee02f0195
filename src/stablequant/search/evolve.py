"""Evolve the scales of a calibrated scheme: factors of all at once, by CMA-ES, until the quantised model errs least.

A calibrator chooses each scale by itself. Here every layer has a factor on its calibrated scales, and the logarithms of all
factors are drawn from a normal distribution that moves to where the objective is least. Hansen and Ostermeier 2001, "Completely
Derandomized Self-Adaptation in Evolution Strategies", by its first author's package ``cma``; the covariance
is diagonal (Ros and Hansen 2008), as a budget of some dozens of evaluations would not tell a full one.

Draws follow from the seed and the outcomes so far. With a journal a stopped evolution draws the same, and finds them there.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stablequant.errors import SettingsError
from stablequant.grid.affine import SMALLEST_SCALE, QuantParams
from stablequant.quantize.scheme import LayerScheme, Scheme
from stablequant.search.trials import Candidate, Outcome, Trials

#: Standard deviation of the first draws, of the logarithm of a factor.
SIGMA = 0.1


@dataclass(frozen=True)
class Evolved:
    """What an evolution came to.

    Attributes:
        scheme: The whole scheme, its evolved scales in place.
        factors: On the scales that the layers had, by layer.
        before: The scheme as it was,
        after: and as it is now; on the speech that it was evolved on, so of both it looks better than it is.
        evaluations: Schemes that were evaluated.
    """

    scheme: Scheme
    factors: Mapping[str, float]
    before: Outcome
    after: Outcome
    evaluations: int


def evolve(trials: Trials, scheme: Scheme, layers: Sequence[str], evaluations: int, seed: int) -> Evolved:
    """Evolve the static scales of ``layers``, those of one layer by one factor.

    The first evaluation is of ``scheme`` itself and the last of the mean that the draws have moved to; the best of all is taken,
    so on this speech what comes out is never worse than what went in.

    Args:
        trials: On dev speech.
        scheme: Where to begin, as a calibrator or the stages made it.
        layers: Whose scales are evolved; those that have no static scale, or are not in ``scheme``, are left as they are.
        evaluations: At most so many, in whole generations.
        seed: Of the draws.

    Raises:
        SettingsError: None of ``layers`` has a static scale, there are too few evaluations for one generation, or ``cma`` is
            not installed.
    """
    names = [n for n in layers if n in scheme and any(isinstance(a, QuantParams) for a in scheme[n].activations)]
    if not names:
        what = "an evolution of scales in a scheme where none of the layers has one"
        raise SettingsError(what, expected="layers with calibrated scales", fix="leave scales at calibrated")
    strategy = _strategy(len(names), seed)
    size = int(strategy.popsize)
    if evaluations < size + 2:
        what = f"an evolution of {len(names)} layers in {evaluations} evaluations"
        raise SettingsError(what, expected=f"at least {size + 2}: the scheme as it is, a generation, and its mean")
    tried: list[tuple[Outcome, dict[str, float]]] = []

    def evaluate(draws: Sequence[Any], title: str) -> list[float]:
        choices = [{n: math.exp(x) for n, x in zip(names, draw, strict=True)} for draw in draws]
        candidates = [
            Candidate(f"{title}, {number}", scaled(scheme, factors)) for number, factors in enumerate(choices, 1)
        ]
        outcomes = trials.run(candidates, f"evolving scales: {title}", base=scheme)
        tried.extend(zip(outcomes, choices, strict=True))
        return [outcome.score.rate for outcome in outcomes]

    evaluate([np.zeros(len(names))], "as calibrated")
    for generation in range(1, (evaluations - 2) // size + 1):
        draws = strategy.ask()
        strategy.tell(draws, evaluate(draws, f"generation {generation}"))
    evaluate([strategy.mean], "the mean")
    # Of equals the first, which is the scheme as it was.
    after, factors = min(tried, key=lambda found: found[0].score.rank)
    return Evolved(after.candidate.scheme, factors, tried[0][0], after, len(tried))


def scaled(scheme: Scheme, factors: Mapping[str, float]) -> dict[str, LayerScheme]:
    """``scheme`` with every static scale of the layers in ``factors`` times the layer's factor."""

    def wider(layer: LayerScheme, factor: float) -> LayerScheme:
        grids = (
            replace(a, scale=max(a.scale * factor, SMALLEST_SCALE)) if isinstance(a, QuantParams) else a
            for a in layer.activations
        )
        return replace(layer, activations=tuple(grids))

    return {name: wider(layer, factors[name]) if name in factors else layer for name, layer in scheme.items()}


def _strategy(dimensions: int, seed: int) -> Any:
    """CMA-ES about no change, which draws from a generator of its own."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it could not draw plots
            import cma
    except ImportError as error:
        what = "an evolution of scales needs the package cma, which is not installed"
        raise SettingsError(what, fix="pip install 'stablequant[evolve]'") from error
    draw = np.random.RandomState(seed % 2**32).randn
    options = {"randn": draw, "seed": np.nan, "CMA_diagonal": True, "verbose": -9}
    return cma.CMAEvolutionStrategy([0.0] * dimensions, SIGMA, options)
