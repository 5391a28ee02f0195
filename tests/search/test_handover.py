"""An object read from the file is the one that was written, and its tensors are held once, not once a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import support
import torch
from torch import Tensor

from stablequant.processes import Process, ready
from stablequant.quantize.simulate import Simulator
from stablequant.search.handover import HandedOver, take


def test_tensors_of_every_kind_come_back_as_they_were() -> None:
    base = torch.arange(60, dtype=torch.float32).reshape(3, 20)
    value = {
        "whole": base,
        "transposed": base.T,
        "part": base[1:, 3:7],
        "one": base[2, 4],
        "expanded": torch.tensor([1.5]).expand(4, 2),
        "odd": torch.arange(7, dtype=torch.int8),
        "double": torch.tensor([1.0 / 3], dtype=torch.float64),
        "half": torch.tensor([[0.1, 65504.0]], dtype=torch.bfloat16),
        "flags": torch.tensor([True, False]),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "text": "and the rest",
    }
    given = HandedOver(value)
    found = take(given.descriptor, given.start)
    given.close()
    assert found.keys() == value.keys()
    for name, expected in value.items():
        if isinstance(expected, Tensor):
            assert found[name].dtype == expected.dtype
            assert found[name].stride() == expected.stride()
            assert torch.equal(found[name], expected), name
    assert found["text"] == "and the rest"
    assert isinstance(found["parameter"], torch.nn.Parameter)


def test_views_of_one_tensor_are_written_once_and_stay_views_of_one() -> None:
    base = torch.zeros(1000)
    given = HandedOver([base, base, base[500:]])
    assert given.start < 2 * 4 * 1000
    whole, again, half = take(given.descriptor, given.start)
    whole[600] = 1.0
    assert again[600] == half[100] == 1.0
    assert float(take(given.descriptor, given.start)[0].sum()) == 0.0
    given.close()


def test_a_simulator_that_was_handed_over_transcribes_alike() -> None:
    for name, load in support.MODELS.items():
        simulator = Simulator(load())
        given = HandedOver(simulator)
        found = take(given.descriptor, given.start)
        given.close()
        sounds = support.waveforms()[:2]
        expected = simulator.model.frontend.recognize(simulator.backend({}), sounds)
        assert found.model.frontend.recognize(found.backend({}), sounds) == expected, name


def held(descriptor: int, start: int) -> Iterator[int]:
    """Bytes that this process has come to hold for itself, once it has read all of the tensor."""
    torch.ones(10).sum()
    before = _own()
    tensor = take(descriptor, start)
    float(tensor.sum())
    yield _own() - before


def _own() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) * 1024


def test_processes_hold_the_tensors_together() -> None:
    tensor = torch.ones(25_000_000)
    given = HandedOver(tensor)
    processes = [Process(inherit=(given.descriptor,)) for _ in range(2)]
    own = []
    for process in processes:
        process.start(held, given.descriptor, given.start)
    while len(own) < 2:
        for process in ready(processes):
            kind, content = process.receive()
            assert kind in ("piece", "done"), content
            if kind == "piece":
                own.append(content)
    for process in processes:
        process.end()
    assert max(own) < 0.2 * tensor.nbytes, own
