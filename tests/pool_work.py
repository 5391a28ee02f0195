"""What workers do in tests of pools: a module of its own, since each of them imports it, and all else costs seconds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import torch

from stablequant.errors import DataError


def squares(shared: None, task: int) -> Iterator[tuple[int, int]]:
    for piece in range(3):
        yield task * 10 + piece, os.getpid()


def sums(shared: dict[str, torch.Tensor], task: str) -> Iterator[tuple[float, int]]:
    yield float(shared[task].sum()), torch.get_num_threads()
    shared[task].zero_()  # seen by this worker alone


def dying_once(folder: Path, task: int) -> Iterator[int]:
    yield task
    with (folder / f"tries-{task}").open("a") as file:
        file.write("x")
    if task == 2 and (folder / "tries-2").read_text() == "x":
        os.kill(os.getpid(), signal.SIGKILL)
    yield -task


def dying(folder: Path, task: int) -> Iterator[int]:
    with (folder / "tries").open("a") as file:
        file.write(str(task))
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    yield task


def failing(shared: None, task: int) -> Iterator[int]:
    if task == 3:
        what = "no such thing"
        raise DataError(what, fix="fix it")
    yield task


def exponentials(shared: torch.Tensor, task: float) -> Iterator[float]:
    torch.set_num_threads(2)
    yield float((task * shared).exp().sum())
