"""One batch of utterances under many candidates, each computed only from where it differs.

The layers that all candidates share are computed once. A frontier of live values walks down the graph; a candidate
that differs first at layer k starts from the frontier at k. That is exact: the values are the same ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.quantize.scheme import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.search.objective import Objective


@dataclass(frozen=True)
class BatchTask:
    """What a worker needs besides the simulator; small enough to be sent.

    Attributes:
        waveforms: Of the utterances.
        schemes: Candidates by key.
        base: The scheme whose layers they mostly share.
        objective: What is read of each candidate's outputs.
        prepared: What the objective knows of the float model on this batch; ``None``: nothing yet. Without, the float model's
            readings serve once it has had its turn.
    """

    waveforms: tuple[NDArray[np.float32], ...]
    schemes: Mapping[str, Scheme]
    base: Scheme
    objective: Objective
    prepared: Any = None


@dataclass(frozen=True)
class Piece:
    """One candidate on one batch: what was read of its outputs, one reading an utterance, and what that took.

    What the shared layers take is the base's if the base itself is a candidate, else that of whoever came first.
    """

    key: str
    seconds: float
    multiplications: int
    readings: tuple[Any, ...]


def run_batch(simulator: Simulator, task: BatchTask) -> Iterator[Piece]:
    """Evaluate every candidate on one batch, in the order in which they first differ from the base scheme.

    The base comes first among those that share every layer of the first graph with it.
    """
    frontend, objective, prepared = simulator.model.frontend, task.objective, task.prepared
    first = simulator.executors[frontend.head.graphs[0]]
    backend = simulator.backend({})
    features = frontend.features(task.waveforms)
    frontier = {name: backend.put(value) for name, value in features.feeds.items()}
    began, before = time.perf_counter(), simulator.multiplications
    if prepared is None and objective.needs_float:
        outputs = frontend.encode(backend, features)
        prepared = objective.prepare(frontend.head, backend, outputs, features.sizes)

    position = on_the_way = 0
    starts = {key: first_difference(simulator, scheme, task.base) for key, scheme in task.schemes.items()}
    with_base = task.base in task.schemes.values()
    for key in sorted(task.schemes, key=lambda key: (starts[key], task.schemes[key] != task.base)):
        scheme = task.schemes[key]
        frontier = first.run(frontier, simulator.operands(task.base), start=position, stop=starts[key])
        position = starts[key]
        if with_base:
            on_the_way += simulator.multiplications - before
            before = simulator.multiplications
        values = first.run(frontier, simulator.operands(scheme), start=position)
        outputs = {name: values[name] for name in first.graph.outputs}
        candidate = simulator.backend(scheme)
        readings = objective.measure(frontend.head, candidate, outputs, features.sizes, prepared)
        if prepared is None and not scheme and not task.base:  # the others then quantise a layer each
            prepared = objective.prepared(readings)
        own = simulator.multiplications - before
        if scheme == task.base:
            own, on_the_way = own + on_the_way, 0
        yield Piece(key, time.perf_counter() - began, own, tuple(readings))
        began, before = time.perf_counter(), simulator.multiplications


def first_difference(simulator: Simulator, scheme: Scheme, base: Scheme) -> int:
    """Index of the first node of the first graph that the two schemes compute differently; its length if none."""
    nodes = simulator.executors[simulator.model.graphs[0].name].graph.nodes
    for index, node in enumerate(nodes):
        if scheme.get(node.name) != base.get(node.name):
            return index
    return len(nodes)
