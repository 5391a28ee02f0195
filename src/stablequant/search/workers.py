"""Spread tasks over forked processes: each computes with one thread, and tells every finished piece at once.

Small models gain more from two processes than from two threads, which wait for each other at every operation. The
parent alone writes the journal. A worker that dies costs the task it was at, which another one does again.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from stablequant.errors import ResourceError

#: How often a task is tried before its worker's death is taken for its own fault.
TRIES = 3


def spread(work: Callable[[int], Iterable[Any]], tasks: Sequence[int], workers: int) -> Iterator[tuple[int, Any]]:
    """Yield ``(task, piece)`` for every piece that ``work(task)`` yields, in the order in which pieces are finished.

    With one worker, or one task, the work is done in this process. Of a task that is tried again pieces come twice.

    Args:
        work: Does one task; runs in a copy of this process as it is now.
        tasks: What to do, the longest first.
        workers: Processes at most.

    Raises:
        ResourceError: Workers keep dying on a task.
        Exception: Whatever ``work`` raises.
    """
    if workers == 1 or len(tasks) < 2:
        for task in tasks:
            for piece in work(task):
                yield task, piece
        return
    # Forked, so that model and speech are there without being copied or loaded again.
    context = multiprocessing.get_context("fork")
    waiting, tries = list(tasks), dict.fromkeys(tasks, 0)
    running: dict[Connection, tuple[BaseProcess, int]] = {}

    def start() -> None:
        task = waiting.pop(0)
        tries[task] += 1
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(work, task, theirs), daemon=True)
        process.start()
        theirs.close()
        running[ours] = process, task

    try:
        while waiting or running:
            while waiting and len(running) < workers:
                start()
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                process, task = running[pipe]
                try:
                    kind, content = pipe.recv()
                except (EOFError, ConnectionError):
                    del running[pipe]
                    process.join()
                    if tries[task] == TRIES:
                        what = f"a worker process died {TRIES} times at the same work (exit code {process.exitcode})"
                        mend = "it may have run out of memory: use --workers 1 or smaller batches"
                        raise ResourceError(what, mend=mend) from None
                    waiting.insert(0, task)
                    continue
                if kind == "piece":
                    yield task, content
                    continue
                del running[pipe]
                process.join()
                if kind == "error":
                    raise content
    finally:
        for process, _ in running.values():
            process.kill()


def _serve(work: Callable[[int], Iterable[Any]], task: int, pipe: Connection) -> None:
    """In the worker: do the task, then say so."""
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers it, and ends the workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    try:
        for piece in work(task):
            pipe.send(("piece", piece))
        pipe.send(("done", None))
    except Exception as error:
        pipe.send(("error", error))
