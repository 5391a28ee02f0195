"""Work spread over processes gives what one process gives; a worker that dies costs a retry, not the run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import support
import torch
from pool_work import dying, dying_once, exponentials, failing, squares, sums

from stablequant.errors import DataError, ResourceError
from stablequant.grid.affine import QuantParams
from stablequant.quantize.scheme import LayerScheme, weight_spec
from stablequant.quantize.simulate import Simulator
from stablequant.search.journal import Journal
from stablequant.search.objective import TaskError
from stablequant.search.pools import TRIES, LocalPool
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings
from stablequant.tasks.task import task_of


def spread(
    work: Callable[[Any, Any], Iterable[Any]], tasks: Sequence[Any], workers: int, shared: Any = None
) -> list[Any]:
    return [(tasks[index], piece) for index, piece in LocalPool(workers).run(work, shared, tasks)]


@pytest.mark.parametrize("workers", [1, 5])
def test_every_piece_of_every_task_comes_from_a_worker_where_there_are_several(workers: int) -> None:
    found = spread(squares, [4, 2, 7], workers)
    assert sorted((task, piece) for task, (piece, _) in found) == [(t, t * 10 + p) for t in (2, 4, 7) for p in range(3)]
    processes = {process for _, (_, process) in found}
    if workers == 1:
        assert processes == {os.getpid()}
    else:
        assert os.getpid() not in processes
        # They end with the pool.
        assert not any(Path(f"/proc/{process}").exists() for process in processes)


def test_workers_stay_for_later_tasks_until_they_are_let_go() -> None:
    pool = LocalPool(2)

    def workers(tasks: Sequence[int]) -> set[int]:
        return {process for _, (_, process) in pool.run(squares, None, tasks)}

    first = workers(range(6))
    assert len(first) == 2
    assert workers(range(6)) == first
    # What goes wrong in a worker is raised here.
    with pytest.raises(DataError, match=r"no such thing. Fix: fix it\."):
        list(pool.run(failing, None, [1, 2, 3]))
    pool.close()
    assert not any(Path(f"/proc/{process}").exists() for process in first)
    assert not workers(range(2)) & first
    pool.close()


def test_what_is_shared_is_that_of_the_run_and_stays_as_it_is_here() -> None:
    pool = LocalPool(2)
    for factor in (1.0, 2.0):
        shared = {name: torch.full((3, 4), factor * value) for name, value in (("a", 1.0), ("b", 2.0))}
        found = dict(pool.run(sums, shared, ["a", "b"]))
        assert found == {0: (12 * factor, 1), 1: (24 * factor, 1)}
        assert float(shared["a"].sum()) == 12 * factor
    pool.close()


def test_a_task_whose_worker_is_killed_is_done_again(tmp_path: Path) -> None:
    found = spread(dying_once, [1, 2, 3], 2, tmp_path)
    assert {piece for _, piece in found} == {1, -1, 2, -2, 3, -3}
    assert {task: (tmp_path / f"tries-{task}").read_text() for task in (1, 2, 3)} == {1: "x", 2: "xx", 3: "x"}


def test_workers_that_keep_dying_at_one_task_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"died 3 times at the same work \(exit code -9\).*--workers 1"):
        spread(dying, [2, 1], 2, tmp_path)
    assert (tmp_path / "tries").read_text().count("2") == TRIES


def test_threads_of_this_process_hold_no_worker_up() -> None:
    """A copy of this process would wait for threads that it does not have."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        zeros = torch.zeros(1 << 20)
        assert float(zeros.exp().sum()) == 1 << 20
        found = spread(exponentials, [1.0, 2.0], 2, zeros)
    finally:
        torch.set_num_threads(before)
    assert sorted(found) == [(1.0, 1 << 20), (2.0, 1 << 20)]


def test_trials_come_out_alike_with_any_number_of_workers() -> None:
    """Of a model of two graphs; those of one are compared on a cluster (test_ray_pool.py)."""
    model = support.moonshine()
    layers = [op.name for op in model.ops()]
    chosen = [*layers[:2], layers[-1]]
    settings = Settings()
    candidates = [
        Candidate(layer, {layer: LayerScheme((QuantParams(2.0),), weight_spec(settings.weights))}) for layer in chosen
    ]
    outcomes = []
    for workers in (1, 2):
        with Journal(None) as journal:
            speech, objective = support.speech(batch_size=1), TaskError(task_of(settings.data))
            trials = Trials(Simulator(model), speech, settings, objective, journal, pool=LocalPool(workers))
            outcomes.append(trials.run(candidates, "layers"))
            assert len(journal) == len(candidates) * len(speech.batches)
            assert trials.run(candidates, "again") == outcomes[-1]
            assert len(journal) == len(candidates) * len(speech.batches)
    assert outcomes[0] == outcomes[1]
