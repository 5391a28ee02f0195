"""The statistics of a race: what is settled after a part of the speech, and what should be evaluated next.

A model changes its answer where it was near a decision already, so the same few utterances tell quantised models from
float again and again. A race therefore puts utterances in strata, those that no probe changed, that some did, and that
many did, and evaluates the most fragile stratum first, together with a random draw from all. What the rest would add is
predicted stratum by stratum: a candidate's own differences in what was evaluated, shrunk towards none. How much they vary
is shrunk towards what candidates vary on average. That rests on one assumption: a layer that does no more than others
where the model is fragile does not do far more than others where it is robust. The draws of the candidate itself
guard against the opposite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Normal quantile of a decision: one in a hundred on either side, at each look.
CLEARLY = 2.33
#: Weight of what is expected of anyone in predicting a candidate's unseen part, as a share of the stratum.
SHRINKAGE = 0.6
#: No candidate is taken for calmer than this share of the average candidate.
CALMEST = 1.0
#: Candidates below this quantile of change make the average: the sensitive ones are no measure for the others.
TYPICAL = 0.8
#: Share of a block that goes to fragile utterances; the rest is drawn at random.
FRAGILE = 0.5
#: Shares of the probes between which strata lie: an utterance was changed by none, by some, or by many of them.
STRATA = (1e-9, 0.3)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Order:
    """Which utterances are evaluated next: a function of the seed and of what the probes changed."""

    def __init__(self, seconds: Floats, fragility: Floats, seed: int) -> None:
        """Start with nothing evaluated.

        Args:
            seconds: Length of each utterance, in any unit ``[N]``.
            fragility: Share of the probes, which were evaluated on everything, that changed its word errors ``[N]``.
            seed: Of the draws.
        """
        self.share = seconds / seconds.sum()
        self.strata = np.searchsorted(STRATA, fragility, side="right")
        self.seen = np.zeros(len(seconds), bool)
        self.drawn = np.zeros(len(seconds), bool)
        self._random = np.random.default_rng(seed)

    def block(self, share: float) -> NDArray[np.int_]:
        """Indices of the next utterances, ascending, about ``share`` of the speech; they count as evaluated."""
        unseen = self._random.permutation(np.flatnonzero(~self.seen))
        by_stratum = unseen[np.argsort(-self.strata[unseen], kind="stable")]
        fragile = by_stratum[self.strata[by_stratum] > 0]
        chosen = fragile[self._before(fragile) < share * FRAGILE - 1e-9]
        others = self._random.permutation(np.setdiff1d(unseen, chosen))
        drawn = others[self._before(others) < share - self.share[chosen].sum() - 1e-9]
        self.drawn[drawn] = True
        new = np.sort(np.concatenate((chosen, drawn)))
        self.seen[new] = True
        return new

    def _before(self, indices: NDArray[np.int_]) -> Floats:
        """Share of speech that comes before each of ``indices``."""
        shares = self.share[indices]
        before: Floats = np.cumsum(shares) - shares
        return before


@dataclass(frozen=True)
class Forecast:
    """What all speech would say of each candidate, from the part that was evaluated; in edits ``[candidates]``.

    Attributes:
        total: Expected difference to the reference on all speech.
        variance: Of that, because of what was not evaluated.
        squared: Sum of squared differences in what was evaluated: the least that the whole speech varies as a sample.
        spread: The same expected of all speech.
    """

    total: Floats
    variance: Floats
    squared: Floats
    spread: Floats


def forecast(differences: Floats, order: Order) -> Forecast:
    """Predict the whole from a part.

    Args:
        differences: Edits more than the reference's ``[candidates, N]``; 0 where not evaluated.
        order: Says what was evaluated, and which stratum an utterance belongs to.
    """
    seen = differences[:, order.seen]
    total, squared = seen.sum(1), (seen**2).sum(1)
    typical = squared <= np.quantile(squared, TYPICAL)
    own = np.maximum(CALMEST, (squared + 0.5) / (float(squared[typical].mean()) + 0.5))
    mean, variance, power = (np.zeros_like(total) for _ in range(3))
    for stratum in np.unique(order.strata[~order.seen]):
        inside = order.strata == stratum
        part = differences[:, inside & order.seen]
        sample, unseen = (float(order.share[inside & which].sum()) for which in (order.seen, ~order.seen))
        if not sample:
            variance += np.inf
            continue
        # Per share of speech. One change more than was seen: nothing seen does not mean that nothing happens.
        typical_power = float(((part[typical] ** 2).sum() + 1) / typical.sum() / sample)
        prior = SHRINKAGE * (sample + unseen)
        mean += unseen * part.sum(1) / (sample + prior)
        shrunk = ((part**2).sum(1) + prior * typical_power * own) / (sample + prior)
        expected = np.maximum(typical_power * own / 2, shrunk)
        variance += expected * unseen * (1 + unseen / (sample + prior))
        power += expected * unseen
    return Forecast(total + mean, variance, squared, squared + power)


def above(found: Forecast, low: Floats, high: Floats) -> tuple[Flags, Flags]:
    """Which totals lie clearly above ``high``, and which clearly below ``low``."""
    margin = CLEARLY * np.sqrt(found.variance)
    return found.total - margin > high, found.total + margin < low
