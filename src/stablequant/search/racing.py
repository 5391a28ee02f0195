"""Both stages as races: a layer, or a value of p, hears only as much of the dev speech as settles it.

Stage 1 lets the cheapest layers, the last ones, hear everything beside float: they tell which utterances are fragile
(see race_statistics.py). All others hear block after block until their cost is clearly above or below what flags a layer; who is
never settled hears everything, and is judged as in an exact search. Stage 2 is sequential halving (Karnin et al. 2013,
"Almost optimal exploration in multi-armed bandits"), by thirds: after each block those clearly behind the leader go,
and of the others the better third stays. The finalists hear everything, in the batches that an exact search hears it in:
rounding differs with the batch, and a decoder that starts to talk on costs dozens of words at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stablequant.families.frontend import Transcript
from stablequant.observe.collect import Histograms
from stablequant.quantize.plan import Scheme
from stablequant.search import race_statistics
from stablequant.search.stage1 import Sensitivity, alone, judge
from stablequant.search.strategy import Standing
from stablequant.search.trials import Candidate, Outcome, Trials
from stablequant.settings import Settings

#: Layers that hear all speech at the start, at most a third of all.
PILOTS = 6
#: Shares of the speech that are heard between two looks; the last is all that is left.
STAGE_1 = (0.06, 0.04, *[0.05] * 9, 0.1, 1.0)
STAGE_2 = (0.02, 0.04, 0.08, 0.16)
#: A block holds about so many utterances at least: fewer say nothing.
FEWEST = 6
#: Nobody is settled before so many utterances were drawn: of fewer, nobody knows how much they vary.
DRAWN = 10
#: Contestants that stay after a block of stage 2: one in so many, and no fewer than the finalists.
STAY = 3
FINALISTS = 2


def pilots(histograms: Histograms, settings: Settings) -> list[Candidate]:
    """The last layers, each alone: they cost next to nothing beside float, which shares what comes before them."""
    candidates = alone(histograms, settings)
    return candidates[len(candidates) - min(PILOTS, len(candidates) // 3) :]


@dataclass
class Pack:
    """Contestants that hear the same blocks of speech, and what they said.

    Attributes:
        trials: On all of the speech.
        reference: Float on all of it.
        order: What was heard so far, and what is next.
        said: By contestant's label, utterance -> transcript and word errors.
    """

    trials: Trials
    reference: Outcome
    order: race_statistics.Order
    said: dict[str, dict[int, tuple[Transcript, int]]] = field(default_factory=dict)

    @property
    def heard(self) -> float:
        """Share of the speech; 1 only if it is all."""
        return 1.0 if self.order.heard.all() else float(self.order.share[self.order.heard].sum())

    def hear(self, candidates: Sequence[Candidate], share: float, title: str, base: Scheme | None = None) -> None:
        """Let ``candidates`` hear the next block, about ``share`` of the speech; without ``base`` they are of stage 1."""
        block = self.order.block(max(share, FEWEST / len(self.order.share))).tolist()
        known = [self.reference.transcripts[i] for i in block]
        outcomes = self.trials.on(block).run(candidates, title, base=base, drafts=known if base is None else None)
        for outcome in outcomes:
            edits = zip(outcome.transcripts, outcome.result.edits, strict=True)
            self.said.setdefault(outcome.candidate.label, {}).update(zip(block, edits, strict=True))

    def differences(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """Edits more than float's ``[candidates, utterances]``; 0 where not heard."""
        result = np.zeros((len(candidates), len(self.order.share)))
        for row, candidate in zip(result, candidates, strict=True):
            for i, (_, edits) in self.said[candidate.label].items():
                row[i] = edits - self.reference.result.edits[i]
        return result

    def outcome(self, candidate: Candidate) -> Outcome:
        """Of a contestant that heard everything."""
        return self.trials.outcome(candidate, {i: t for i, (t, _) in self.said[candidate.label].items()})


@dataclass
class Racing:
    """A contest that stops listening once it knows; see `search.contest.Contest`.

    Attributes:
        trials: On the dev speech.
        reference: Float on it.
        pilots: Layers that heard everything beside it.
        settings: Name gamma, what flags a layer, and the seed of the draws.
        fragility: Share of the pilots that changed each utterance's word errors ``[N]``.
    """

    trials: Trials
    reference: Outcome
    pilots: Sequence[Outcome]
    settings: Settings
    fragility: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        """What the pilots changed is fragile."""
        known = np.array(self.reference.result.edits)
        rows = [np.array(pilot.result.edits) != known for pilot in self.pilots]
        self.fragility = np.mean(rows, axis=0) if rows else np.zeros(len(known))

    def sensitivity(self, histograms: Histograms) -> list[Sensitivity]:
        """Stage 1; where ``heard`` is below 1, WER, cost and interval are forecasts."""
        candidates = alone(histograms, self.settings)
        judged = {o.candidate.label: judge(self.reference, o, self.settings) for o in self.pilots}
        pack = self._pack()
        racing = [c for c in candidates if c.label not in judged]
        for number, share in enumerate(STAGE_1, 1):
            if not racing:
                break
            pack.hear(racing, share, f"stage 1: block {number}, {len(racing)} layers unsettled")
            judged |= self._settled(pack, racing)
            racing = [c for c in racing if c.label not in judged]
        return [judged[c.label] for c in candidates]

    def compare(self, candidates: Sequence[Candidate], title: str) -> list[Standing]:
        """Stage 2; among those that hear everything is the best, or one within chance of it."""
        pack, base = self._pack(), candidates[0].scheme
        distinct = {c.key(): c for c in candidates}
        standings: dict[str, Standing] = {}
        racing = list(distinct.values())
        for number, share in enumerate(STAGE_2, 1):
            if len(racing) <= FINALISTS or pack.order.heard.all():
                break
            pack.hear(racing, share, f"{title}: block {number}, {len(racing)} left", base)
            standings |= {c.key(): s for c, s in zip(racing, self._forecasts(pack, racing), strict=True)}
            racing = _stay(pack, racing)
        for outcome in self.trials.run(racing, f"{title}: {len(racing)} finalists", base=base):
            standings[outcome.candidate.key()] = Standing(outcome.result.wer, outcome.result.cer)
        return [standings[c.key()] for c in candidates]

    def _pack(self) -> Pack:
        lengths = np.array([len(w) for w in self.trials.speech.waveforms], np.float64)
        order = race_statistics.Order(lengths, self.fragility, self.settings.seed)
        return Pack(self.trials, self.reference, order)

    def _settled(self, pack: Pack, racing: Sequence[Candidate]) -> dict[str, Sensitivity]:
        """The verdict on every contestant whose cost is clearly above or below what flags a layer."""
        if pack.order.heard.all():
            return {c.label: judge(self.reference, pack.outcome(c), self.settings) for c in racing}
        if pack.order.drawn.sum() < DRAWN:
            return {}
        found = race_statistics.forecast(pack.differences(racing), pack.order)
        words, wer = self.reference.result.total_words, self.reference.result.wer
        chance = 1.96 * np.sqrt(found.spread)
        low = high = np.full(len(racing), self.settings.gamma * words / 100)
        if self.settings.beyond_chance:
            low, high = np.maximum(low, 1.96 * np.sqrt(found.squared)), np.maximum(high, chance)
        up, down = race_statistics.above(found, low, high)
        delta = 100 * found.total / words
        reach = 100 * np.hypot(chance, 1.96 * np.sqrt(found.variance)) / words
        verdicts = {}
        for i in np.flatnonzero(up | down).tolist():
            d, r = float(delta[i]), float(reach[i])
            label = racing[i].label
            verdicts[label] = Sensitivity(label, wer + d, d, bool(up[i]), (d - r, d + r), pack.heard)
        return verdicts

    def _forecasts(self, pack: Pack, racing: Sequence[Candidate]) -> list[Standing]:
        """Where contestants stand by what they heard."""
        found = race_statistics.forecast(pack.differences(racing), pack.order)
        words, wer = self.reference.result.total_words, self.reference.result.wer
        heard = np.flatnonzero(pack.order.heard).tolist()
        part = self.trials.on(heard)
        standings = []
        for candidate, total in zip(racing, found.total, strict=True):
            said = pack.said[candidate.label]
            cer = part.outcome(candidate, {k: said[i][0] for k, i in enumerate(heard)}).result.cer
            standings.append(Standing(wer + 100 * float(total) / words, cer, pack.heard))
        return standings


def _stay(pack: Pack, racing: Sequence[Candidate]) -> list[Candidate]:
    """The better third, but enough for a final: those clearly behind the leader go in any case."""
    differences = pack.differences(racing)
    total = race_statistics.forecast(differences, pack.order).total
    leader = int(total.argmin())
    zero = np.zeros(len(racing))
    behind, _ = race_statistics.above(
        race_statistics.forecast(differences - differences[leader], pack.order), zero, zero
    )
    behind[leader] = False  # its forecast leans towards the others, which are worse
    ranked = sorted((i for i in range(len(racing)) if not behind[i]), key=lambda i: (total[i], i))
    kept = set(ranked[: max(FINALISTS, -(-len(racing) // STAY))])
    return [c for i, c in enumerate(racing) if i in kept]
