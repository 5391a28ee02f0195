"""One shard of utterances under many candidates, each computed only from where it differs.

The layers that all candidates share are computed once. A frontier of live values walks down the graph; a candidate
that differs first at layer k starts from the frontier at k. That is exact: the values are the same ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stablequant.families.frontend import Transcript
from stablequant.quantize.plan import Scheme
from stablequant.quantize.simulate import Simulator


@dataclass(frozen=True)
class ShardTask:
    """What a worker needs besides the simulator; small enough to be sent.

    Attributes:
        waveforms: Of the shard's utterances, decoded as one batch.
        schemes: Candidates by key.
        base: The scheme whose layers they mostly share.
        drafts: Token ids likely to come out, one an utterance; see `Trials.run`. Without, those of the float model serve once
            it has had its turn.
    """

    waveforms: tuple[NDArray[np.float32], ...]
    schemes: Mapping[str, Scheme]
    base: Scheme
    drafts: tuple[tuple[int, ...], ...] | None


@dataclass(frozen=True)
class Piece:
    """One candidate on one shard: its transcripts, and what they took.

    What the shared layers take is the base's if the base itself is a candidate, else that of whoever came first.
    """

    key: str
    seconds: float
    multiplications: int
    transcripts: tuple[Transcript, ...]


def run_shard(simulator: Simulator, task: ShardTask) -> Iterator[Piece]:
    """Transcribe the shard under every candidate, those that share most with the base last, itself first of these."""
    frontend = simulator.model.frontend
    first = simulator.executors[simulator.model.graphs[0].name]
    backend = simulator.backend({})
    features = frontend.features(task.waveforms)

    frontier = {name: backend.put(value) for name, value in features.items()}
    position = on_the_way = 0
    drafts = task.drafts
    starts = {key: first_difference(simulator, scheme, task.base) for key, scheme in task.schemes.items()}
    with_base = task.base in task.schemes.values()
    for key in sorted(task.schemes, key=lambda key: (starts[key], task.schemes[key] != task.base)):
        began, before = time.perf_counter(), simulator.multiplications
        scheme = task.schemes[key]
        frontier = first.run(frontier, simulator.operands(task.base), start=position, stop=starts[key])
        position = starts[key]
        if with_base:
            on_the_way += simulator.multiplications - before
            before = simulator.multiplications
        outputs = first.run(frontier, simulator.operands(scheme), start=position)
        transcripts = frontend.read_out(simulator.backend(scheme), outputs, features["input_lengths"], drafts)
        if drafts is None and not scheme and not task.base:  # the others then quantise a layer each
            drafts = tuple(t.tokens for t in transcripts)
        own = simulator.multiplications - before
        if scheme == task.base:
            own, on_the_way = own + on_the_way, 0
        yield Piece(key, time.perf_counter() - began, own, tuple(transcripts))


def first_difference(simulator: Simulator, scheme: Scheme, base: Scheme) -> int:
    """Index of the first node of the first graph that the two schemes compute differently; its length if none."""
    nodes = simulator.executors[simulator.model.graphs[0].name].graph.nodes
    for index, node in enumerate(nodes):
        if scheme.get(node.name) != base.get(node.name):
            return index
    return len(nodes)
