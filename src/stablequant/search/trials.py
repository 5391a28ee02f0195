"""Run candidates on speech: one shard of utterances at a time, each candidate only from where it differs.

Within a shard the layers that all candidates share are computed once. A frontier of live values walks down the graph;
a candidate that differs first at layer k starts from the frontier at k. That is exact: the values are the same ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from stablequant.config import Settings, digest
from stablequant.data.speech import Speech
from stablequant.evaluate.score import score
from stablequant.evaluate.wer import EvaluationResult
from stablequant.models.frontend import Transcript
from stablequant.quantize.plan import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.search.journal import Journal
from stablequant.search.workers import spread

#: Told what is running, how many steps of it are done, and how many there are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Candidate:
    """A quantisation on trial: a name for people, and the grid of each quantised layer."""

    label: str
    scheme: Scheme

    def key(self) -> str:
        """Hash of the scheme: candidates whose grids coincide share it, and are evaluated once."""
        grids = {
            name: [[q.scale, q.zero_point, q.bits, *([q.planes] if q.planes > 1 else [])] for q in grids]
            for name, grids in self.scheme.items()
        }
        return digest(grids)


@dataclass(frozen=True)
class Outcome:
    """A candidate's transcripts on all utterances and what they amount to."""

    candidate: Candidate
    transcripts: tuple[Transcript, ...]
    result: EvaluationResult

    @property
    def runaways(self) -> int:
        """Utterances on which the decoder had to be cut off."""
        return sum(t.truncated for t in self.transcripts)


class Trials:
    """Evaluates candidates on one set of speech, through a journal."""

    def __init__(
        self,
        simulator: Simulator,
        speech: Speech,
        settings: Settings,
        journal: Journal,
        progress: Progress = lambda label, done, total: None,
        workers: int = 1,
    ) -> None:
        """Bind a simulator to ``speech``; finished work is looked up in, and kept in, ``journal``.

        ``workers`` processes share the shards; see search/workers.py.
        """
        self._workers = workers
        self._simulator = simulator
        self._speech = speech
        self._settings = settings
        self._journal = journal
        self._progress = progress
        self._shard_keys = [speech.shard_key(shard) for shard in speech.shards]
        weights = [settings.bits, settings.weight_granularity, settings.weight_method]
        self._context = [simulator.model.fingerprint, weights]

    def run(
        self,
        candidates: Sequence[Candidate],
        title: str,
        *,
        base: Scheme | None = None,
        drafts: Sequence[Transcript] | None = None,
        alike: bool = False,
    ) -> list[Outcome]:
        """Transcribe all utterances under every candidate.

        Args:
            candidates: What to try.
            title: Shown with the progress.
            base: The scheme whose layers the candidates mostly share; default: all in float.
            drafts: Transcripts likely to come out, one an utterance; they change the cost alone.
            alike: Whether a candidate's transcripts resemble those of the one before it more than ``drafts``.
        """
        distinct = {c.key(): c for c in candidates}
        found: dict[str, dict[int, Transcript]] = {key: {} for key in distinct}
        # In samples, not shards: the first shards hold the longest utterances.
        sizes = [sum(len(w) for w in self._speech.batch(shard)) for shard in self._speech.shards]
        total = len(distinct) * sum(sizes)
        done = 0
        missing: dict[int, dict[str, Candidate]] = {}
        for number, shard in enumerate(self._speech.shards):
            for key, candidate in distinct.items():
                if (known := self._journal.find(self._row(key, number))) is None:
                    missing.setdefault(number, {})[key] = candidate
                else:
                    found[key].update(zip(shard, known, strict=True))
                    done += sizes[number]
        self._progress(title, done, total)

        def work(number: int) -> Iterator[tuple[str, float, list[Transcript]]]:
            return self._run_shard(self._speech.shards[number], missing[number], base or {}, drafts, alike)

        for number, (key, seconds, transcripts) in spread(work, list(missing), self._workers):
            self._journal.add(self._row(key, number), distinct[key].label, number, seconds, transcripts)
            if not found[key].keys() >= set(self._speech.shards[number]):
                done += sizes[number]
            found[key].update(zip(self._speech.shards[number], transcripts, strict=True))
            self._progress(title, done, total)
        return [self._outcome(c, found[c.key()]) for c in candidates]

    def _row(self, key: str, shard: int) -> str:
        return digest([self._context, key, self._shard_keys[shard]])

    def _run_shard(
        self,
        shard: Sequence[int],
        missing: Mapping[str, Candidate],
        base: Scheme,
        drafts: Sequence[Transcript] | None,
        alike: bool,
    ) -> Iterator[tuple[str, float, list[Transcript]]]:
        simulator, frontend = self._simulator, self._simulator.model.frontend
        first = simulator.executors[simulator.model.graphs[0].name]
        backend = simulator.backend({})
        features = frontend.features(self._speech.batch(shard))
        guesses = None if drafts is None else [drafts[i].tokens for i in shard]

        frontier = {name: backend.put(value) for name, value in features.items()}
        position = 0
        starts = {key: first_difference(simulator, c.scheme, base) for key, c in missing.items()}
        for key in sorted(missing, key=lambda key: starts[key]):
            began = time.perf_counter()
            candidate = missing[key]
            frontier = first.run(frontier, simulator.operands(base), start=position, stop=starts[key])
            position = starts[key]
            outputs = first.run(frontier, simulator.operands(candidate.scheme), start=position)
            transcripts = frontend.read_out(
                simulator.backend(candidate.scheme), outputs, features["input_lengths"], guesses
            )
            if alike:
                guesses = [t.tokens for t in transcripts]
            yield key, time.perf_counter() - began, transcripts

    def _outcome(self, candidate: Candidate, found: Mapping[int, Transcript]) -> Outcome:
        transcripts = tuple(found[i] for i in range(len(self._speech.utterances)))
        result = score(self._speech, transcripts, self._settings.normalizer)
        return Outcome(candidate, transcripts, result)


def first_difference(simulator: Simulator, scheme: Scheme, base: Scheme) -> int:
    """Index of the first node of the first graph that the two schemes compute differently; its length if none."""
    nodes = simulator.executors[simulator.model.graphs[0].name].graph.nodes
    for index, node in enumerate(nodes):
        if scheme.get(node.name) != base.get(node.name):
            return index
    return len(nodes)
