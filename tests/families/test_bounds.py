"""Below a certain length there is no frame to look at; it is known without the weights, and it is exact."""

from pathlib import Path

import numpy as np
import pytest

from stablequant.families.checkpoint import load, load_frontend
from stablequant.network.execute import Executor, TorchBackend
from stablequant.network.graph import receptive_field

ROOT = Path(__file__).parents[2]
MODELS = {"wavlm-graft": ROOT / "tests" / "assets" / "wavlm-graft", "moonshine": ROOT / "examples" / "moonshine-tiny"}


def test_a_stack_of_convolutions_sees_what_wav2vec2_is_known_to_see():
    """25 ms at 16 kHz, every 20 ms (wav2vec 2.0, arXiv:2006.11477, section 4.2)."""
    kernels, strides = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
    assert receptive_field(zip(kernels, strides, strict=True)) == 400
    assert receptive_field([]) == 1


@pytest.mark.parametrize("name", MODELS)
def test_the_shortest_audio_gives_one_frame_and_a_sample_less_gives_none(name):
    model = load(MODELS[name])
    shortest = load_frontend(MODELS[name]).bounds.shortest
    assert model.frontend.bounds.shortest == shortest
    lengths = np.array([shortest, shortest - 1])
    for node in model.graphs[0].nodes:
        if node.kind == "conv_lengths":
            lengths = (lengths - node.attrs["kernel"]) // node.attrs["stride"] + 1
    assert lengths.tolist() == [1, 0]

    backend = TorchBackend({g.name: Executor(g) for g in model.graphs})
    noise = np.random.default_rng(0).normal(0, 0.1, shortest).astype(np.float32)
    outputs = model.frontend.encode(backend, model.frontend.features([noise]))
    assert all(np.isfinite(backend.get(value)).all() for value in outputs.values())
    assert len(model.frontend.recognize(backend, [noise])) == 1
