"""The search as the paper tells it, without a shortcut: what tests and benchmarks compare every shortcut with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stablequant.quantize.scheme import Scheme
from stablequant.search.trials import Candidate, Outcome, Trials


@dataclass
class NaiveTrials(Trials):
    """Each candidate is evaluated on all speech from the waveform on, by plain greedy search; nothing is shared or kept."""

    def run(
        self,
        candidates: Sequence[Candidate],
        title: str,
        *,
        base: Scheme | None = None,
        reference: Sequence[Any] | None = None,
    ) -> list[Outcome]:
        """Evaluate every candidate on all utterances; ``base`` and ``reference`` are not used."""
        frontend, objective = self.simulator.model.frontend, self.objective
        plain = self.simulator.backend({})
        outcomes = []
        for number, candidate in enumerate(candidates):
            self.progress(title, number, len(candidates))
            began, before = time.perf_counter(), self.simulator.multiplications
            backend = self.simulator.backend(candidate.scheme)
            found: dict[int, Any] = {}
            for batch in self.speech.batches:
                features = frontend.features(self.speech.waveforms_of(batch))
                prepared = None
                if objective.needs_float:
                    prepared = objective.prepare(frontend.head, plain, frontend.encode(plain, features), features.sizes)
                outputs = frontend.encode(backend, features)
                readings = objective.measure(frontend.head, backend, outputs, features.sizes, prepared)
                found.update(zip(batch, readings, strict=True))
            self.cost.seconds += time.perf_counter() - began
            self.cost.by_candidate[candidate.key()] += self.simulator.multiplications - before
            outcomes.append(self.outcome(candidate, found))
        return outcomes
