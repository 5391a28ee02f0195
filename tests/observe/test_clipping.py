"""Clipped values, counted as numpy counts them, and a decoder's attention."""

from __future__ import annotations

import numpy as np
import pytest
import support
import torch

from stablequant.grid.affine import QuantParams
from stablequant.network.execute import Executor, TorchBackend
from stablequant.observe.clipping import Clips, ClipWatcher, first_step
from stablequant.quantize.simulate import Simulator


def test_counts_are_those_of_numpy() -> None:
    x = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))
    for grid in (QuantParams(1.0 / 127), QuantParams(1.5 / 255, 40)):
        codes = np.rint(x.numpy() / np.float32(grid.scale)) + grid.zero_point
        clamped = (codes < -128) | (codes > 127)
        found = Clips.of(x, grid)
        assert found.frames.tolist() == clamped.sum((0, 2)).tolist()
        assert found.channels.tolist() == clamped.sum((0, 1)).tolist()
        assert 0 < clamped.sum() < clamped.size


@pytest.mark.parametrize("name", support.MODELS)
def test_a_watched_model_counts_every_layer_and_computes_the_same(name):
    model, scheme = support.MODELS[name](), support.scheme(name, "percentile", percentile=99)
    grids = {n: layer.activations[0] for n, layer in scheme.items()}
    simulator = Simulator(model, matmuls=True)
    seen = {}

    def keep(node, inputs, weights, lengths):
        seen[node.name] = inputs[0].clone()
        return inputs, weights

    executors = {g.name: Executor(g) for g in model.graphs}
    watcher = ClipWatcher(model, grids)
    frontend, head = model.frontend, model.frontend.head
    features = frontend.features(support.waveforms(support.SHORT[:1]))
    logits = []
    for operands in (keep, watcher):
        backend = TorchBackend(executors, operands)
        outputs = frontend.encode(backend, features)
        answers = head.read(TorchBackend(executors), outputs, features.sizes)
        logits.append(head.logits(backend, outputs, answers)[0])
    assert np.array_equal(*logits)
    assert set(watcher.clips) == set(grids)
    for layer, clips in watcher.clips.items():
        grid = grids[layer]
        codes = np.rint(seen[layer].numpy() / np.float32(grid.scale)) + grid.zero_point
        assert clips.frames.sum() == clips.channels.sum() == ((codes < grid.qmin) | (codes > grid.qmax)).sum(), layer

    count = len(answers[0].tokens)
    attention = watcher.attention(count)
    heard = head.heard(TorchBackend(executors), outputs, answers[0], attention)
    assert heard[0] == 0
    assert heard[-1] == 1
    assert len(heard) == count + 1
    assert (np.diff(heard) >= 0).all()
    if attention is None:
        assert model.frontend.head.graphs == ("model",)
        return
    assert attention.sum(1) == pytest.approx(np.ones(count), abs=1e-4)
    steps = len(watcher.clips["model.decoder.layers.0.mlp.fc1"].frames)
    assert first_step(steps, count) == len(head.decoder.prompt) - 1
    # Tokens are heard one after the other: where attention is, moves on.
    middle = attention @ np.arange(attention.shape[1]) / attention.shape[1]
    assert np.corrcoef(middle, np.arange(count))[0, 1] > 0.8

    quantised = TorchBackend(simulator.executors, ClipWatcher(model, grids, simulator.operands(scheme)))
    plain = simulator.backend(scheme)
    both = [head.logits(b, frontend.encode(b, features), answers)[0] for b in (quantised, plain)]
    assert np.array_equal(*both)
