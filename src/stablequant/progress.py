"""What is told about work that takes long: how far it is, and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

#: Called with what is running, how many steps of it are done, and how many there are.
Progress = Callable[[str, int, int], None]


def silent(title: str, done: int, total: int) -> None:
    """Report nothing."""


@dataclass
class Clock:
    """Seconds spent in each stage of a job, by the stage's name."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; one that is entered again adds up."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - began, 2)
