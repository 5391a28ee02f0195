"""Recordings one at a time: in pieces that the model takes, with those that cannot be used counted as they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import support

from stablequant.data import manifest
from stablequant.errors import AudioError
from stablequant.grid.chance import MASS
from stablequant.observe.recordings import Recordings, Watcher
from stablequant.quantize.simulate import Simulator
from stablequant.tasks.fidelity import divergence

RATE = 16000


def folder(path: Path, bad: int) -> Path:
    path.mkdir()
    rng = np.random.default_rng(0)
    for name, seconds in (("a", 1.0), ("b", 130.0)):
        soundfile.write(path / f"{name}.flac", 0.1 * rng.standard_normal(int(seconds * RATE)), RATE)
    for number in range(bad):
        (path / f"broken{number}.wav").write_bytes(b"RIFF")
    return path


def test_a_long_recording_comes_in_pieces_and_too_many_bad_ones_end_it(tmp_path):
    frontend = support.graft().frontend
    recordings = Recordings(manifest.load([str(folder(tmp_path / "a", 1))]), frontend, 0.5)
    found = list(recordings)
    assert [sum(map(len, pieces)) for pieces in found] == [RATE, 130 * RATE]
    assert [len(pieces) > 1 for pieces in found] == [False, True]
    assert max(map(len, found[1])) <= frontend.bounds.longest * RATE
    assert (recordings.used, [name for name, _ in recordings.skipped]) == (2, ["broken0.wav"])

    recordings = Recordings(manifest.load([str(folder(tmp_path / "b", 3))]), frontend, 0.5)
    with pytest.raises(AudioError, match="3 of 5 recordings cannot be used"):
        list(recordings)


@pytest.mark.parametrize("name", support.MODELS)
def test_a_watched_recording_has_the_histograms_and_the_divergence_of_a_batch(name):
    model = support.MODELS[name]()
    quantised = Simulator(model).backend(support.scheme(name))
    ends = dict.fromkeys((f"{op.name}#0" for op in model.ops()), (-1.0, 1.0))
    seen = Watcher(model, quantised, ends, matmuls=False)(support.waveforms(support.CALIBRATION))
    batch = {f"{op.name}#0": support.histograms(name)[op.name][0] for op in model.ops()}
    assert list(seen.activations) == list(batch)
    for layer, histogram in batch.items():
        single = seen.activations[layer]
        assert single.largest == pytest.approx(max(-histogram.minimum, histogram.maximum), rel=1e-3)
        shares = histogram.joined() / histogram.count
        assert np.abs(single.mass / MASS - shares).max() < 1e-3
        assert single.outside / MASS == pytest.approx(histogram.outside(-1, 1) / histogram.count, abs=1e-3)
    assert seen.seconds == sum(map(len, support.waveforms(support.CALIBRATION))) / RATE

    plain, nats, steps = Simulator(model).backend({}), 0.0, 0
    for waveform in support.waveforms(support.CALIBRATION):
        features, head = model.frontend.features([waveform]), model.frontend.head
        outputs = [model.frontend.encode(backend, features) for backend in (plain, quantised)]
        answers = head.read(plain, outputs[0], features.sizes)
        (a,), (b,) = (head.logits(k, o, answers) for k, o in zip((plain, quantised), outputs, strict=True))
        distance = divergence(a, b)
        nats, steps = nats + distance.nats, steps + distance.steps
    assert seen.divergence.steps == steps
    assert seen.divergence.nats == pytest.approx(nats, rel=1e-3)
    assert nats > 0
