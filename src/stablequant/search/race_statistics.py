"""The statistics of a race: who is settled after a part of the speech, and what should be heard next.

A model changes its mind where it was near a decision already, so the same few utterances tell quantised models from
float again and again. A race therefore puts utterances in strata, those that no pilot changed, that some did, and that
many did, and hears the most fragile stratum first, together with a random draw from all. What the unheard would add is
predicted stratum by stratum: a contestant's own differences in what it heard, shrunk towards none. How much they vary
is shrunk towards what contestants vary on average. That rests on one assumption: a layer that does no more than others
where the model is fragile does not do far more than others where it is robust. The draws of the contestant itself
guard against the opposite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Normal quantile of a decision: one in a hundred on either side, at each look.
CLEARLY = 2.33
#: Weight of what is expected of anyone in predicting a contestant's unheard part, as a share of the stratum.
SHRINKAGE = 0.6
#: Nobody is taken for calmer than this share of the average contestant.
CALMEST = 1.0
#: Contestants below this quantile of change make the average: the sensitive ones are no measure for the others.
TYPICAL = 0.8
#: Share of a block that goes to fragile utterances; the rest is drawn at random.
FRAGILE = 0.5
#: Shares of the pilots between which strata lie: an utterance was changed by none, by some, or by many of them.
STRATA = (1e-9, 0.3)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Order:
    """Which utterances are heard next: a function of the seed and of what the pilots changed."""

    def __init__(self, seconds: Floats, fragility: Floats, seed: int) -> None:
        """Start with nothing heard.

        Args:
            seconds: Length of each utterance, in any unit ``[N]``.
            fragility: Share of the pilots, which heard everything, that changed its word errors ``[N]``.
            seed: Of the draws.
        """
        self.share = seconds / seconds.sum()
        self.strata = np.searchsorted(STRATA, fragility, side="right")
        self.heard = np.zeros(len(seconds), bool)
        self.drawn = np.zeros(len(seconds), bool)
        self._random = np.random.default_rng(seed)

    def block(self, share: float) -> NDArray[np.int_]:
        """Indices of the next utterances, ascending, about ``share`` of the speech; they count as heard."""
        unheard = self._random.permutation(np.flatnonzero(~self.heard))
        by_stratum = unheard[np.argsort(-self.strata[unheard], kind="stable")]
        fragile = by_stratum[self.strata[by_stratum] > 0]
        chosen = fragile[self._before(fragile) < share * FRAGILE - 1e-9]
        others = self._random.permutation(np.setdiff1d(unheard, chosen))
        drawn = others[self._before(others) < share - self.share[chosen].sum() - 1e-9]
        self.drawn[drawn] = True
        new = np.sort(np.concatenate((chosen, drawn)))
        self.heard[new] = True
        return new

    def _before(self, indices: NDArray[np.int_]) -> Floats:
        """Share of speech that comes before each of ``indices``."""
        shares = self.share[indices]
        before: Floats = np.cumsum(shares) - shares
        return before


@dataclass(frozen=True)
class Forecast:
    """What all speech would say of each contestant, from the part that was heard; in edits ``[contestants]``.

    Attributes:
        total: Expected difference to the reference on all speech.
        variance: Of that, because of what was not heard.
        squared: Sum of squared differences in what was heard: the least that the whole speech varies as a sample.
        spread: The same expected of all speech.
    """

    total: Floats
    variance: Floats
    squared: Floats
    spread: Floats


def forecast(differences: Floats, order: Order) -> Forecast:
    """Predict the whole from the heard.

    Args:
        differences: Edits more than the reference's ``[contestants, N]``; 0 where not heard.
        order: Says what was heard, and which stratum an utterance belongs to.
    """
    heard = differences[:, order.heard]
    total, squared = heard.sum(1), (heard**2).sum(1)
    typical = squared <= np.quantile(squared, TYPICAL)
    own = np.maximum(CALMEST, (squared + 0.5) / (float(squared[typical].mean()) + 0.5))
    mean, variance, power = (np.zeros_like(total) for _ in range(3))
    for stratum in np.unique(order.strata[~order.heard]):
        inside = order.strata == stratum
        part = differences[:, inside & order.heard]
        sample, unheard = (float(order.share[inside & which].sum()) for which in (order.heard, ~order.heard))
        if not sample:
            variance += np.inf
            continue
        # Per share of speech. One change more than was seen: nothing seen does not mean that nothing happens.
        typical_power = float(((part[typical] ** 2).sum() + 1) / typical.sum() / sample)
        prior = SHRINKAGE * (sample + unheard)
        mean += unheard * part.sum(1) / (sample + prior)
        shrunk = ((part**2).sum(1) + prior * typical_power * own) / (sample + prior)
        expected = np.maximum(typical_power * own / 2, shrunk)
        variance += expected * unheard * (1 + unheard / (sample + prior))
        power += expected * unheard
    return Forecast(total + mean, variance, squared, squared + power)


def above(found: Forecast, low: Floats, high: Floats) -> tuple[Flags, Flags]:
    """Which totals lie clearly above ``high``, and which clearly below ``low``."""
    margin = CLEARLY * np.sqrt(found.variance)
    return found.total - margin > high, found.total + margin < low
