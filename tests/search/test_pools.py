"""Work spread over processes gives what one process gives; a worker that dies costs a retry, not the run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import support

from stablequant.errors import DataError, ResourceError
from stablequant.grid.affine import QuantParams
from stablequant.quantize.simulate import Simulator
from stablequant.search.journal import Journal
from stablequant.search.pools import TRIES, LocalPool
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings

PARENT = os.getpid()


def spread(
    work: Callable[[Any, Any], Iterable[Any]], tasks: Sequence[Any], workers: int, shared: Any = None
) -> list[Any]:
    return [(tasks[index], piece) for index, piece in LocalPool(workers).run(work, shared, tasks)]


def squares(shared: None, task: int) -> Iterator[tuple[int, bool]]:
    for piece in range(3):
        yield task * 10 + piece, os.getpid() != PARENT


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_piece_of_every_task_comes_from_a_worker_where_there_are_several(workers: int) -> None:
    found = spread(squares, [4, 2, 7], workers)
    assert sorted((task, piece) for task, (piece, _) in found) == [(t, t * 10 + p) for t in (2, 4, 7) for p in range(3)]
    assert {elsewhere for _, (_, elsewhere) in found} == {workers > 1}


def test_a_task_whose_worker_is_killed_is_done_again(tmp_path: Path) -> None:
    def work(shared: None, task: int) -> Iterator[int]:
        yield task
        if task == 2 and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield -task

    found = spread(work, [1, 2, 3], 2)
    assert (tmp_path / "died").exists()
    assert {piece for _, piece in found} == {1, -1, 2, -2, 3, -3}


def test_workers_that_keep_dying_at_one_task_end_the_run(tmp_path: Path) -> None:
    def work(shared: None, task: int) -> Iterator[int]:
        with (tmp_path / "tries").open("a") as file:
            file.write(str(task))
        if task == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        yield task

    with pytest.raises(ResourceError, match="died 3 times at the same work .*--workers 1"):
        spread(work, [1, 2, 3], 2)
    assert (tmp_path / "tries").read_text().count("2") == TRIES


def test_what_goes_wrong_in_a_worker_is_raised_here() -> None:
    def work(shared: None, task: int) -> Iterator[int]:
        if task == 3:
            what = "no such thing"
            raise DataError(what, fix="fix it")
        yield task

    with pytest.raises(DataError, match="no such thing. Fix: fix it."):
        spread(work, [1, 2, 3], 2)


@pytest.mark.parametrize("name", support.MODELS)
def test_trials_come_out_alike_with_any_number_of_workers(name: str) -> None:
    model = support.MODELS[name]()
    layers = [op.name for op in model.ops()]
    chosen = [*layers[:2], layers[-1]]
    candidates = [Candidate(layer, {layer: (QuantParams(2.0),)}) for layer in chosen]
    outcomes = []
    for workers in (1, 2):
        with Journal(None) as journal:
            speech = support.speech(batch_size=1)
            trials = Trials(Simulator(model), speech, Settings(), journal, pool=LocalPool(workers))
            outcomes.append(trials.run(candidates, "layers"))
            assert len(journal) == len(candidates) * len(speech.batches)
            assert trials.run(candidates, "again") == outcomes[-1]
            assert len(journal) == len(candidates) * len(speech.batches)
    assert outcomes[0] == outcomes[1]
