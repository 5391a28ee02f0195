"""The search as the paper tells it, without a shortcut: what tests and benchmarks hold every shortcut against."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from stablequant.families.frontend import Transcript
from stablequant.quantize.plan import Scheme
from stablequant.search.trials import Candidate, Outcome, Trials


@dataclass
class NaiveTrials(Trials):
    """Each candidate hears all speech from the waveform on, by plain greedy search; nothing is shared or kept."""

    def run(
        self,
        candidates: Sequence[Candidate],
        title: str,
        *,
        base: Scheme | None = None,
        drafts: Sequence[Transcript] | None = None,
    ) -> list[Outcome]:
        """Transcribe all utterances under every candidate; ``base`` and ``drafts`` are not used."""
        outcomes = []
        for number, candidate in enumerate(candidates):
            self.progress(title, number, len(candidates))
            began, before = time.perf_counter(), self.simulator.multiplications
            backend = self.simulator.backend(candidate.scheme)
            found: dict[int, Transcript] = {}
            for shard in self.speech.shards:
                transcripts = self.simulator.model.frontend.recognize(backend, self.speech.batch(shard))
                found.update(zip(shard, transcripts, strict=True))
            self.cost.seconds += time.perf_counter() - began
            self.cost.by_candidate[candidate.key()] += self.simulator.multiplications - before
            outcomes.append(self.outcome(candidate, found))
        return outcomes
