"""Share tasks among workers, each of which computes with one thread and hands over every finished piece at once.

Small models gain more from two processes than from two threads, which wait for each other at every operation. The
parent alone writes the journal. A worker that dies costs the task it was at, which another one does again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Protocol

from stablequant.errors import ResourceError
from stablequant.processes import Process, ready
from stablequant.search.handover import HandedOver, take

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
            shared: What every task needs; large. It is handed over once, as it is at its first use.
            tasks: What to do, the longest first; small.
        """

    def close(self) -> None:
        """Give back what the workers hold; a later `run` starts others."""


class LocalPool:
    """Processes on this machine. They stay from one `run` to the next and share one copy of what they work with.

    Attributes:
        workers: Processes at most. One, or one task: the work is done here, with all threads.
    """

    def __init__(self, workers: int = 1) -> None:
        """Start nothing yet."""
        self.workers = workers
        self._idle: list[Process] = []
        self._shared: Any = None
        self._handed_over: HandedOver | None = None

    @property
    def size(self) -> int:
        """Workers at most."""
        return self.workers

    def run(self, work: Work, shared: Any, tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield ``(index of the task, piece)``, see `Pool`.

        Raises:
            ResourceError: Workers keep dying on a task, or there is no room to hand ``shared`` over.
            Exception: Whatever ``work`` raises.
        """
        if self.workers == 1 or len(tasks) < 2:
            for index, task in enumerate(tasks):
                for piece in work(shared, task):
                    yield index, piece
            return
        given = self._hand_over(shared)
        waiting, tries = deque(range(len(tasks))), [0] * len(tasks)
        running: dict[Process, int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    index = waiting.popleft()
                    tries[index] += 1
                    process = self._idle.pop() if self._idle else _worker(given)
                    running[process] = index
                    process.start(_do, given.descriptor, given.start, work, tasks[index])
                for process in ready(running):
                    index = running[process]
                    kind, content = process.receive()
                    if kind == "piece":
                        yield index, content
                        continue
                    del running[process]
                    if kind == "died":
                        if tries[index] == TRIES:
                            raise died(content, "--workers 1")
                        waiting.appendleft(index)
                        continue
                    self._idle.append(process)
                    if kind == "error":
                        raise content
        finally:
            for process in running:
                process.end()

    def close(self) -> None:
        """End the processes and free their memory; a later `run` starts others."""
        while self._idle:
            self._idle.pop().end()
        if self._handed_over is not None:
            self._handed_over.close()
        self._shared = self._handed_over = None

    def _hand_over(self, shared: Any) -> HandedOver:
        if self._handed_over is None or self._shared is not shared:
            self.close()
            self._shared, self._handed_over = shared, HandedOver(shared)
        return self._handed_over


def died(how: str, fewer: str) -> ResourceError:
    """What to say when workers keep dying at one task."""
    what = f"a worker process died {TRIES} times at the same work ({how})"
    return ResourceError(what, fix=f"it may have run out of memory: use {fewer} or smaller batches")


def _worker(given: HandedOver) -> Process:
    # The variable is for libraries that start their threads when they are imported.
    return Process(inherit=(given.descriptor,), environment={"OMP_NUM_THREADS": "1"})


def _do(descriptor: int, start: int, work: Work, task: Any) -> Iterable[Any]:
    """In the worker: one task."""
    return work(_taken(descriptor, start), task)


@cache
def _taken(descriptor: int, start: int) -> Any:
    """In the worker: what all tasks share."""
    import torch

    torch.set_num_threads(1)
    return take(descriptor, start)
