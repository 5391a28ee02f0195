"""Weights come from their files a tensor at a time, and go when nothing needs them."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import support
import torch
import whispers
from safetensors.torch import save_file

from stablequant.families.checkpoint import load
from stablequant.quantize.simulate import Simulator


def test_weights_that_are_let_go_of_are_gone_and_are_read_again() -> None:
    model = load(support.GRAFT)
    simulator = Simulator(model)
    backend, feeds = simulator.backend(support.scheme("graft")), support.feeds(model, support.waveforms()[:1])
    expected = backend.run("model", feeds)["logits"]
    held = [weakref.ref(weight) for weight in model.graphs[0].weights.values()]
    simulator.let_go()
    gc.collect()
    assert not [ref for ref in held if ref() is not None]
    assert torch.equal(backend.run("model", feeds)["logits"], expected)


def test_two_graphs_of_a_model_share_the_weights_that_are_read_again(tmp_path: Path) -> None:
    whispers.save(tmp_path, multilingual=True)
    model = load(tmp_path)
    before = [support.checksum(graph.weights) for graph in model.graphs]
    model.let_go()
    assert [support.checksum(graph.weights) for graph in model.graphs] == before
    encoder, decoder = (graph.weights for graph in model.graphs)
    assert encoder["model.encoder.conv1.bias"] is decoder["model.encoder.conv1.bias"]


#: Bytes that become resident while a checkpoint's tensors are widened one by one, and stay.
WIDEN = """
import sys
from pathlib import Path
from stablequant.families.weight_files import read_weights
from stablequant.families.weight_names import widened
from stablequant.measure.memory import peak
before = peak()
weights, origin = read_weights(Path(sys.argv[1]))
floats = {name: widened(name, weight, origin[name]) for name, weight in weights.items()}
print(peak() - before, sum(w.nbytes for w in floats.values()))
"""


def test_half_precision_is_not_resident_beside_its_copy(tmp_path: Path) -> None:
    save_file({f"w{i}": torch.ones(2**21, dtype=torch.bfloat16) for i in range(32)}, tmp_path / "model.safetensors")
    command = [sys.executable, "-c", WIDEN, str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    taken, floats = map(int, told)
    assert floats == 2**28
    assert taken < 1.2 * floats  # the file's own values would be another half
