"""Share tasks among workers, each of which computes with one thread and hands over every finished piece at once.

Small models gain more from two processes than from two threads, which wait for each other at every operation. The
parent alone writes the journal. A worker that dies costs the task it was at, which another one does again.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from stablequant.errors import ResourceError

#: How often a task is tried before its worker's death is taken for its own fault.
TRIES = 3

#: Does one task with what all tasks share, a piece at a time.
Work = Callable[[Any, Any], Iterable[Any]]


class Pool(Protocol):
    """Workers, here or elsewhere."""

    @property
    def size(self) -> int:
        """Workers at most."""

    def run(self, work: Work, shared: Any, tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield ``(index of the task, piece)`` for every piece of ``work(shared, task)``, as they are finished.

        Of a task that is tried again pieces come twice.

        Args:
            work: A function of a module.
            shared: What every task needs; large.
            tasks: What to do, the longest first; small.
        """


@dataclass(frozen=True)
class LocalPool:
    """Processes forked from this one, so that what they share is there without being copied.

    Attributes:
        workers: Processes at most. One, or one task: the work is done here, with all threads.
    """

    workers: int = 1

    @property
    def size(self) -> int:
        """Workers at most."""
        return self.workers

    def run(self, work: Work, shared: Any, tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield ``(index of the task, piece)``, see `Pool`.

        Raises:
            ResourceError: Workers keep dying on a task.
            Exception: Whatever ``work`` raises.
        """
        if self.workers == 1 or len(tasks) < 2:
            for index, task in enumerate(tasks):
                for piece in work(shared, task):
                    yield index, piece
            return
        context = multiprocessing.get_context("fork")
        waiting, tries = list(range(len(tasks))), [0] * len(tasks)
        running: dict[Connection, tuple[BaseProcess, int]] = {}

        def start() -> None:
            index = waiting.pop(0)
            tries[index] += 1
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(work, shared, tasks[index], theirs), daemon=True)
            process.start()
            theirs.close()
            running[ours] = process, index

        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    start()
                for pipe in wait(list(running)):
                    assert isinstance(pipe, Connection)
                    process, index = running[pipe]
                    try:
                        kind, content = pipe.recv()
                    except (EOFError, ConnectionError):
                        del running[pipe]
                        process.join()
                        if tries[index] == TRIES:
                            code = f"exit code {process.exitcode}"
                            raise died(code, "--workers 1") from None
                        waiting.insert(0, index)
                        continue
                    if kind == "piece":
                        yield index, content
                        continue
                    del running[pipe]
                    process.join()
                    if kind == "error":
                        raise content
        finally:
            for process, _ in running.values():
                process.kill()


def died(how: str, fewer: str) -> ResourceError:
    """What to say when workers keep dying at one task."""
    what = f"a worker process died {TRIES} times at the same work ({how})"
    return ResourceError(what, fix=f"it may have run out of memory: use {fewer} or smaller batches")


def _serve(work: Work, shared: Any, task: Any, pipe: Connection) -> None:
    """In the worker: do the task, then say so."""
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers it, and ends the workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    try:
        for piece in work(shared, task):
            pipe.send(("piece", piece))
        pipe.send(("done", None))
    except Exception as error:
        pipe.send(("error", error))
