"""Run candidates on speech, a shard of utterances at a time, through a journal: nothing is computed twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from stablequant.data.speech import Speech
from stablequant.families.frontend import Transcript
from stablequant.quantize.plan import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.search.batch import Piece, ShardTask, run_shard
from stablequant.search.journal import Journal
from stablequant.search.pools import LocalPool, Pool
from stablequant.settings import Settings, digest
from stablequant.tasks.asr import EvaluationResult
from stablequant.tasks.score import score

#: Told what is running, how many steps of it are done, and how many there are.
Progress = Callable[[str, int, int], None]

#: Part of every key in a journal: raised when the same candidate would come out otherwise than in an earlier version.
DECODING = 2


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
        speech: What is transcribed.
        settings: Name the weights' grids and the normaliser.
        journal: Finished work is looked up and kept there.
        progress: Told what is running.
        pool: The workers that share the shards.
        cost: Of all that was asked for so far, also where an earlier run computed it.
    """

    simulator: Simulator
    speech: Speech
    settings: Settings
    journal: Journal
    progress: Progress = lambda label, done, total: None
    pool: Pool = field(default_factory=LocalPool)
    cost: Cost = field(default_factory=Cost)

    def __post_init__(self) -> None:
        """Hash what every result depends on."""
        self._shard_keys = [self.speech.shard_key(shard) for shard in self.speech.shards]
        weights = [self.settings.bits, self.settings.weight_granularity, self.settings.weight_method]
        self._context = [DECODING, self.simulator.model.fingerprint, weights]

    def run(
        self,
        candidates: Sequence[Candidate],
        title: str,
        *,
        base: Scheme | None = None,
        drafts: Sequence[Transcript] | None = None,
    ) -> list[Outcome]:
        """Transcribe all utterances under every candidate.

        Args:
            candidates: What to try.
            title: Shown with the progress.
            base: The scheme whose layers the candidates mostly share; default: all in float.
            drafts: Transcripts likely to come out, one an utterance. They change the cost alone, for candidates that
                quantise one layer (see `decode.greedy`); give none for others.
        """
        distinct = {c.key(): c for c in candidates}
        found: dict[str, dict[int, Transcript]] = {key: {} for key in distinct}
        # In samples, not shards: the first shards hold the longest utterances.
        sizes = [sum(len(w) for w in self.speech.batch(shard)) for shard in self.speech.shards]
        total = len(distinct) * sum(sizes)
        done = 0
        missing: dict[int, dict[str, Scheme]] = {}

        def keep(number: int, piece: Piece) -> None:
            nonlocal done
            shard = self.speech.shards[number]
            if not found[piece.key].keys() >= set(shard):
                done += sizes[number]
            found[piece.key].update(zip(shard, piece.transcripts, strict=True))
            self.cost.add(self._row(piece.key, number), piece)

        for number in range(len(self.speech.shards)):
            for key, candidate in distinct.items():
                if finished := self.journal.find(self._row(key, number)):
                    keep(number, Piece(key, *finished))
                else:
                    missing.setdefault(number, {})[key] = candidate.scheme
        self.progress(title, done, total)

        tasks, numbers = [], []
        for number, schemes in missing.items():
            shard = self.speech.shards[number]
            known = None if drafts is None else tuple(drafts[i].tokens for i in shard)
            for some in _divided(schemes, self.pool.size, len(missing)):
                tasks.append(ShardTask(tuple(self.speech.batch(shard)), some, base or {}, known))
                numbers.append(number)
        for index, piece in self.pool.run(run_shard, self.simulator, tasks):
            number = numbers[index]
            self.journal.add(self._row(piece.key, number), distinct[piece.key].label, number, piece)
            keep(number, piece)
            self.progress(title, done, total)
        return [self.outcome(c, found[c.key()]) for c in candidates]

    def _row(self, key: str, shard: int) -> str:
        return digest([self._context, key, self._shard_keys[shard]])

    def on(self, indices: Sequence[int]) -> Self:
        """Trials on a part of the speech, with the same journal, workers and account."""
        return replace(self, speech=self.speech.part(indices, self.settings.batch_size, self.settings.batch_seconds))

    def outcome(self, candidate: Candidate, found: Mapping[int, Transcript]) -> Outcome:
        """What transcripts by utterance amount to."""
        transcripts = tuple(found[i] for i in range(len(self.speech.utterances)))
        result = score(self.speech, transcripts, self.settings.normalizer)
        return Outcome(candidate, transcripts, result)


def _divided(schemes: Mapping[str, Scheme], workers: int, shards: int) -> list[Mapping[str, Scheme]]:
    """One shard's candidates in so many parts that all workers find work; each part computes the shared layers anew."""
    parts = min(len(schemes), -(-workers // shards))
    keys = list(schemes)
    size = -(-len(keys) // parts)
    return [{key: schemes[key] for key in keys[i : i + size]} for i in range(0, len(keys), size)]
