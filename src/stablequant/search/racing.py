"""Both stages as races: a layer, or a value of p, is evaluated only on as much of the dev speech as settles it.

Stage 1 evaluates the cheapest layers, the last ones, on everything beside float: these probes tell which utterances are
fragile (see race_statistics.py). All others are evaluated block after block until their cost is clearly above or below
what flags a layer; those never settled are evaluated on everything, and judged as in an exact search. Stage 2 is
sequential halving (Karnin et al. 2013, "Almost optimal exploration in multi-armed bandits"), by thirds: after each block
those clearly behind the leader go, and of the others the better third stays. The finalists are evaluated on everything, in
the batches of an exact search: rounding differs with the batch, and a decoder that starts to talk on costs dozens of words
at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.errors import SettingsError
from stablequant.observe.collect import Histograms
from stablequant.quantize.scheme import Scheme
from stablequant.search import race_statistics
from stablequant.search.stage1 import Sensitivity, alone, judge
from stablequant.search.strategy import Judged
from stablequant.search.trials import Candidate, Outcome, Trials
from stablequant.settings import Settings

#: Layers that are evaluated on all speech at the start, at most a third of all.
PROBES = 6
#: Shares of the speech that are evaluated between two looks; the last is all that is left.
STAGE_1 = (0.06, 0.04, *[0.05] * 9, 0.1, 1.0)
STAGE_2 = (0.02, 0.04, 0.08, 0.16)
#: A block holds about so many utterances at least: fewer say nothing.
FEWEST = 6
#: Nothing is settled before so many utterances were drawn: of fewer, nobody knows how much they vary.
DRAWN = 10
#: Candidates that stay after a block of stage 2: one in so many, and no fewer than the finalists.
STAY = 3
FINALISTS = 2


def probes(histograms: Histograms, settings: Settings) -> list[Candidate]:
    """The last layers, each alone: they cost next to nothing beside float, which shares what comes before them."""
    candidates = alone(histograms, settings)
    return candidates[len(candidates) - min(PROBES, len(candidates) // 3) :]


@dataclass
class Blocks:
    """Candidates that are evaluated on the same blocks of speech, and what was read of them.

    Attributes:
        trials: On all of the speech.
        reference: Float on all of it.
        order: What was evaluated so far, and what is next.
        read: By candidate's label, utterance -> reading, errors and errors of the finer measure.
    """

    trials: Trials
    reference: Outcome
    order: race_statistics.Order
    read: dict[str, dict[int, tuple[Any, float, float]]] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Of the speech; 1 only if it is all."""
        return 1.0 if self.order.seen.all() else float(self.order.share[self.order.seen].sum())

    def next(self, candidates: Sequence[Candidate], share: float, title: str, base: Scheme | None = None) -> None:
        """Evaluate ``candidates`` on the next block, about ``share`` of the speech; without ``base`` they are of stage 1."""
        block = self.order.block(max(share, FEWEST / len(self.order.share))).tolist()
        known = [self.reference.readings[i] for i in block]
        part = self.trials.on(block)
        for outcome in part.run(candidates, title, base=base, reference=known if base is None else None):
            rows = zip(outcome.readings, outcome.score.errors, outcome.score.tie_break, strict=True)
            self.read.setdefault(outcome.candidate.label, {}).update(zip(block, rows, strict=True))

    def differences(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """Errors more than float's ``[candidates, utterances]``; 0 where not evaluated."""
        result = np.zeros((len(candidates), len(self.order.share)))
        for row, candidate in zip(result, candidates, strict=True):
            for i, (_, errors, _) in self.read[candidate.label].items():
                row[i] = errors - self.reference.score.errors[i]
        return result

    def outcome(self, candidate: Candidate) -> Outcome:
        """Of a candidate that was evaluated on everything."""
        return self.trials.outcome(candidate, {i: r for i, (r, _, _) in self.read[candidate.label].items()})


@dataclass
class Racing:
    """A strategy that stops once it knows; see `search.strategy.Strategy`.

    Attributes:
        trials: On the dev speech.
        reference: Float on it.
        probes: Layers that were evaluated on everything beside it.
        fragility: Share of the probes that changed each utterance's errors ``[N]``.

    Raises:
        SettingsError: The objective does not count whole errors, which is what tells fragile utterances from others.
    """

    trials: Trials
    reference: Outcome
    probes: Sequence[Outcome]
    fragility: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        """What the probes changed is fragile."""
        if not self.reference.score.grain:
            what = f"a race by {self.reference.score.metric}"
            fix = (
                "use --recipe paper, or the strategy exact: a divergence is cheap, and says enough on a few utterances"
            )
            raise SettingsError(what, expected="an objective that counts whole errors", fix=fix)
        known = np.array(self.reference.score.errors)
        rows = [np.array(probe.score.errors) != known for probe in self.probes]
        self.fragility = np.mean(rows, axis=0) if rows else np.zeros(len(known))

    def sensitivity(self, histograms: Histograms) -> list[Sensitivity]:
        """Stage 1; where ``share`` is below 1, rate, cost and interval are forecasts."""
        candidates = alone(histograms, self.trials.settings)
        judged = {o.candidate.label: judge(self.reference, o, self.trials) for o in self.probes}
        blocks = self._blocks()
        racing = [c for c in candidates if c.label not in judged]
        for number, share in enumerate(STAGE_1, 1):
            if not racing:
                break
            blocks.next(racing, share, f"stage 1: block {number}, {len(racing)} layers unsettled")
            judged |= self._settled(blocks, racing)
            racing = [c for c in racing if c.label not in judged]
        return [judged[c.label] for c in candidates]

    def compare(self, candidates: Sequence[Candidate], title: str) -> list[Judged]:
        """Stage 2; among those that are evaluated on everything is the best, or one within chance of it."""
        blocks, base = self._blocks(), candidates[0].scheme
        distinct = {c.key(): c for c in candidates}
        judged: dict[str, Judged] = {}
        racing = list(distinct.values())
        for number, share in enumerate(STAGE_2, 1):
            if len(racing) <= FINALISTS or blocks.order.seen.all():
                break
            blocks.next(racing, share, f"{title}: block {number}, {len(racing)} left", base)
            judged |= {c.key(): j for c, j in zip(racing, self._forecasts(blocks, racing), strict=True)}
            racing = _stay(blocks, racing)
        for outcome in self.trials.run(racing, f"{title}: {len(racing)} finalists", base=base):
            judged[outcome.candidate.key()] = Judged.of(self.reference, outcome)
        return [judged[c.key()] for c in candidates]

    def _blocks(self) -> Blocks:
        lengths = np.array([len(w) for w in self.trials.speech.waveforms], np.float64)
        order = race_statistics.Order(lengths, self.fragility, self.trials.settings.data.seed)
        return Blocks(self.trials, self.reference, order)

    @property
    def _points(self) -> float:
        """Points that one error is."""
        score = self.reference.score
        return self.trials.objective.points * score.factor / score.total

    def _settled(self, blocks: Blocks, racing: Sequence[Candidate]) -> dict[str, Sensitivity]:
        """The verdict on every candidate whose cost is clearly above or below what flags a layer."""
        if blocks.order.seen.all():
            return {c.label: judge(self.reference, blocks.outcome(c), self.trials) for c in racing}
        if blocks.order.drawn.sum() < DRAWN:
            return {}
        found = race_statistics.forecast(blocks.differences(racing), blocks.order)
        chosen, points = self.trials.settings.search, self._points
        chance = 1.96 * np.sqrt(found.spread)
        low = high = np.full(len(racing), chosen.gamma / points)
        if chosen.beyond_chance:
            low, high = np.maximum(low, 1.96 * np.sqrt(found.squared)), np.maximum(high, chance)
        up, down = race_statistics.above(found, low, high)
        delta = points * found.total
        reach = points * np.hypot(chance, 1.96 * np.sqrt(found.variance))
        verdicts = {}
        for i in np.flatnonzero(up | down).tolist():
            d, r, label = float(delta[i]), float(reach[i]), racing[i].label
            rate = self.reference.score.rate + d / self.trials.objective.points
            verdicts[label] = Sensitivity(label, rate, d, bool(up[i]), (d - r, d + r), blocks.share)
        return verdicts

    def _forecasts(self, blocks: Blocks, racing: Sequence[Candidate]) -> list[Judged]:
        """What candidates come to by what was evaluated."""
        found = race_statistics.forecast(blocks.differences(racing), blocks.order)
        score = self.reference.score
        seen = np.flatnonzero(blocks.order.seen).tolist()
        judged = []
        for candidate, total in zip(racing, found.total, strict=True):
            read = blocks.read[candidate.label]
            finer = sum(read[i][2] for i in seen)
            judged.append(Judged(score.rate + score.factor * float(total) / score.total, finer, blocks.share))
        return judged


def _stay(blocks: Blocks, racing: Sequence[Candidate]) -> list[Candidate]:
    """The better third, but enough for a final: those clearly behind the leader go in any case."""
    differences = blocks.differences(racing)
    total = race_statistics.forecast(differences, blocks.order).total
    leader = int(total.argmin())
    zero = np.zeros(len(racing))
    behind, _ = race_statistics.above(
        race_statistics.forecast(differences - differences[leader], blocks.order), zero, zero
    )
    behind[leader] = False  # its forecast leans towards the others, which are worse
    ranked = sorted((i for i in range(len(racing)) if not behind[i]), key=lambda i: (total[i], i))
    kept = set(ranked[: max(FINALISTS, -(-len(racing) // STAY))])
    return [c for i, c in enumerate(racing) if i in kept]
