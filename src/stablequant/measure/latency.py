"""How long recognisers take, measured so that a shared, noisy machine does not decide the answer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def interleaved(
    recognisers: Mapping[str, Callable[[Any], object]],
    inputs: Sequence[Any],
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds that each recogniser takes for all ``inputs``, one by one, in each of ``rounds`` rounds.

    The recognisers take turns input by input, so that a slow minute is slow for all of them; one round more, the
    first, warms up and is not counted. ``clock`` counts the seconds: of the wall, or with ``time.process_time`` those
    that this process computes.
    """
    seconds: dict[str, list[float]] = {name: [] for name in recognisers}
    for turn in range(rounds + 1):
        spent = dict.fromkeys(recognisers, 0.0)
        for item in inputs:
            for name, recognise in recognisers.items():
                began = clock()
                recognise(item)
                spent[name] += clock() - began
        if turn:
            for name, value in spent.items():
                seconds[name].append(value)
    return seconds


def speedup(seconds: Mapping[str, Sequence[float]], name: str, baseline: str) -> float:
    """How many times faster ``name`` is than ``baseline``: the ratio of their medians."""
    return statistics.median(seconds[baseline]) / statistics.median(seconds[name])
