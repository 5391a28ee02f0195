"""A decoder that stops early or talks on is timed on the work of the float model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import support

from stablequant.measure import fixed_steps
from stablequant.quantize.simulate import Simulator


class Counted:
    """Counts the rows of every decoder step."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.put, self.get = backend.put, backend.get
        self.rows: Counter[str] = Counter()

    def run(self, graph: str, feeds: Mapping[str, Any]) -> dict[str, Any]:
        self.rows[graph] += len(next(iter(feeds.values())))
        return self._backend.run(graph, feeds)


def test_every_recording_takes_the_steps_that_the_float_model_takes() -> None:
    model, sounds = support.moonshine(), support.waveforms()[:2]
    backend = Simulator(model).backend({})
    counted = Counted(backend)
    steps = fixed_steps.steps(model.frontend, counted, sounds)
    assert [n - 1 for n in steps] == [len(t.tokens) for t in model.frontend.recognize(backend, sounds)]
    before = counted.rows["decoder"]
    fixed_steps.run(model.frontend, counted, sounds, steps)
    assert counted.rows["decoder"] == 2 * before
    # One that would stop sooner or go on for longer does neither: each row is in as many passes as it has steps.
    for others in ([n + 3 for n in steps], [2, 3]):
        before = counted.rows["decoder"]
        fixed_steps.run(model.frontend, counted, sounds, others)
        assert counted.rows["decoder"] - before == sum(others)


def test_a_ctc_model_takes_no_steps() -> None:
    model, sounds = support.graft(), support.waveforms()[:2]
    backend = Counted(Simulator(model).backend({}))
    assert fixed_steps.steps(model.frontend, backend, sounds) == [0, 0]
    fixed_steps.run(model.frontend, backend, sounds, [0, 0])
    assert backend.rows == {"model": 2}
