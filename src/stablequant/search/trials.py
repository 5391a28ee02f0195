"""Run candidates on speech, a batch of utterances at a time, through a journal: nothing is computed twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, Self

from stablequant.data.speech import Speech
from stablequant.files import digest
from stablequant.progress import Progress, silent
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.search.batch import BatchTask, Piece, run_batch
from stablequant.search.journal import Journal
from stablequant.search.objective import Objective
from stablequant.search.pools import LocalPool, Pool
from stablequant.settings import Settings
from stablequant.tasks.score import Score

#: Part of every key in a journal: raised when the same candidate would come out otherwise than in an earlier version.
DECODING = 3
#: Packages whose version can change a reading.
PACKAGES = ("torch", "transformers")


@dataclass(frozen=True)
class Candidate:
    """A quantisation on trial: a name for people, and how each quantised layer is quantised."""

    label: str
    scheme: Scheme

    def key(self) -> str:
        """Hash of the scheme: candidates whose schemes coincide share it, and are evaluated once."""
        return digest({name: layer.identity() for name, layer in self.scheme.items()})


@dataclass(frozen=True)
class Outcome:
    """A candidate's readings on all utterances and what they amount to."""

    candidate: Candidate
    readings: tuple[Any, ...]
    score: Score


@dataclass
class Cost:
    """What a search took, whenever it was computed.

    Attributes:
        by_candidate: Multiplications in products, padding included, by candidate's key; the same on every machine.
        seconds: Of computation, summed over workers.
    """

    by_candidate: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    rows: set[str] = field(default_factory=set)
    """Keys of what was counted."""

    def add(self, row: str, piece: Piece) -> None:
        """Count a piece, once."""
        if row not in self.rows:
            self.rows.add(row)
            self.by_candidate[piece.key] += piece.multiplications
            self.seconds += piece.seconds

    @property
    def multiplications(self) -> int:
        """Of all candidates."""
        return self.by_candidate.total()


@dataclass
class Trials:
    """Evaluates candidates on one set of speech.

    Attributes:
        simulator: Runs a candidate.
        speech: What it is run on.
        settings: Say how large batches are, and what the stages ask of a layer.
        objective: What a candidate is judged by.
        journal: Finished work is looked up and kept there.
        progress: Told what is running.
        pool: The workers that share the batches.
        cost: Of all that was asked for so far, also where an earlier run computed it.
    """

    simulator: Simulator
    speech: Speech
    settings: Settings
    objective: Objective
    journal: Journal = field(default_factory=lambda: Journal(None))
    progress: Progress = silent
    pool: Pool = field(default_factory=LocalPool)
    cost: Cost = field(default_factory=Cost)

    def __post_init__(self) -> None:
        """Hash what every result depends on."""
        self._batch_keys = [self.speech.batch_key(batch) for batch in self.speech.batches]
        model = self.simulator.model
        versions = [version(package) for package in PACKAGES]
        self._context = [DECODING, model.fingerprint, model.processor_fingerprint, versions, self.objective.name]
        self._context += [self.simulator.weights.made_from] if self.simulator.weights.made_from else []

    def run(
        self,
        candidates: Sequence[Candidate],
        title: str,
        *,
        base: Scheme | None = None,
        reference: Sequence[Any] | None = None,
    ) -> list[Outcome]:
        """Evaluate every candidate on all utterances.

        Args:
            candidates: What to try.
            title: Shown with the progress.
            base: The scheme whose layers the candidates mostly share; default: all in float.
            reference: Readings of the float model, one an utterance, from which the objective may prepare. For transcripts
                they change the cost alone, for candidates that quantise one layer (see `heads.drafts`); give none for others.
        """
        distinct = {c.key(): c for c in candidates}
        found: dict[str, dict[int, Any]] = {key: {} for key in distinct}
        # In samples, not batches: the first batches hold the longest utterances.
        sizes = [sum(len(w) for w in self.speech.waveforms_of(batch)) for batch in self.speech.batches]
        total = len(distinct) * sum(sizes)
        done = 0
        missing: dict[int, dict[str, Scheme]] = {}

        def keep(number: int, piece: Piece) -> None:
            nonlocal done
            batch = self.speech.batches[number]
            if not found[piece.key].keys() >= set(batch):
                done += sizes[number]
            found[piece.key].update(zip(batch, piece.readings, strict=True))
            self.cost.add(self._row(piece.key, number), piece)

        for number in range(len(self.speech.batches)):
            for key, candidate in distinct.items():
                if finished := self.journal.find(self._row(key, number)):
                    seconds, multiplications, readings = finished
                    decoded = tuple(self.objective.from_json(r) for r in readings)
                    keep(number, Piece(key, seconds, multiplications, decoded))
                else:
                    missing.setdefault(number, {})[key] = candidate.scheme
        self.progress(title, done, total)

        tasks, numbers = [], []
        for number, schemes in missing.items():
            batch = self.speech.batches[number]
            prepared = None if reference is None else self.objective.prepared([reference[i] for i in batch])
            waveforms = tuple(self.speech.waveforms_of(batch))
            for some in _divided(schemes, self.pool.size, len(missing)):
                tasks.append(BatchTask(waveforms, some, base or {}, self.objective, prepared))
                numbers.append(number)
        for index, piece in self.pool.run(run_batch, self.simulator, tasks):
            number = numbers[index]
            readings = [self.objective.to_json(r) for r in piece.readings]
            row = self._row(piece.key, number)
            self.journal.add(row, distinct[piece.key].label, number, piece.seconds, piece.multiplications, readings)
            keep(number, piece)
            self.progress(title, done, total)
        return [self.outcome(c, found[c.key()]) for c in candidates]

    def once(self, key: str, label: str, batch: int, compute: Callable[[], tuple[float, int, list[Any]]]) -> list[Any]:
        """Readings of something other than a candidate on a batch, as JSON holds them: from the journal, or computed and kept.

        Args:
            key: Says what is read.
            label: For people.
            batch: Its number.
            compute: Gives seconds, multiplications, and a reading an utterance.
        """
        row = self._row(key, batch)
        found = self.journal.find(row)
        if found is None:
            found = compute()
            self.journal.add(row, label, batch, *found)
        seconds, multiplications, readings = found
        self.cost.add(row, Piece(key, seconds, multiplications, tuple(readings)))
        return readings

    def _row(self, key: str, batch: int) -> str:
        return digest([self._context, key, self._batch_keys[batch]])

    def on(self, indices: Sequence[int], batch_size: int = 0, batch_seconds: float = 0.0) -> Self:
        """Trials on a part of the speech, with the same journal, workers and account; by default in batches as large."""
        data = self.settings.data
        part = self.speech.part(indices, batch_size or data.batch_size, batch_seconds or data.batch_seconds)
        return replace(self, speech=part)

    def outcome(self, candidate: Candidate, found: Mapping[int, Any]) -> Outcome:
        """What readings by utterance amount to."""
        readings = tuple(found[i] for i in range(len(self.speech.utterances)))
        return Outcome(candidate, readings, self.objective.score(self.speech.utterances, readings))


def _divided(schemes: Mapping[str, Scheme], workers: int, batches: int) -> list[Mapping[str, Scheme]]:
    """One batch's candidates in so many parts that all workers find work; each part computes the shared layers anew."""
    parts = min(len(schemes), -(-workers // batches))
    keys = list(schemes)
    size = -(-len(keys) // parts)
    return [{key: schemes[key] for key in keys[i : i + size]} for i in range(0, len(keys), size)]
