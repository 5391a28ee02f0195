"""Kernel times: measured once, kept, and told for an utterance."""

from __future__ import annotations

import json
from pathlib import Path

import support

from stablequant.measure.kernels import measured
from stablequant.quantize.options import options
from stablequant.quantize.scheme import LayerScheme
from stablequant.settings import Settings


def some(name: str, endings: tuple[str, ...]) -> dict[str, dict[str, LayerScheme]]:
    model = support.MODELS[name]()
    ops = [op for op in model.ops() if op.name.endswith(endings)]
    return {op.name: options(model, op, support.histograms(name), Settings()) for op in ops}


def test_layers_of_one_shape_are_measured_once_and_found_again(tmp_path: Path) -> None:
    cache = tmp_path / "somewhere" / "kernels.json"
    choices = some("graft", ("conv_layers.1.conv", "layers.0.attention.q_proj", "layers.1.attention.q_proj", "conv.0"))
    model, histograms = support.graft(), support.histograms("graft")
    first = measured(model, choices, histograms, len(support.CALIBRATION), cache)
    assert all(0 < seconds < 5 for times in first.values() for seconds in times.values())
    kept = json.loads(cache.read_text())
    # Of the convolution a calibrated scale and two forms of a scale a frame, two schemes of the linear layers, all of one shape.
    assert len(kept) == 5
    cache.write_text(json.dumps({key: 7.0 for key in kept}))
    again = measured(model, choices, histograms, len(support.CALIBRATION), cache)
    assert {seconds for times in again.values() for seconds in times.values()} == {7.0}
    cache.write_text("{damaged")
    assert measured(model, choices, histograms, len(support.CALIBRATION), cache).keys() == choices.keys()
    assert len(json.loads(cache.read_text())) == 5


def test_a_decoder_takes_its_rows_one_by_one(tmp_path: Path) -> None:
    cache = tmp_path / "kernels.json"
    model, histograms = support.moonshine(), support.histograms("moonshine")
    choices = some("moonshine", ("decoder.layers.0.self_attn.q_proj",))
    (times,) = measured(model, choices, histograms, len(support.CALIBRATION), cache).values()
    (histogram,) = histograms["model.decoder.layers.0.self_attn.q_proj"]
    steps = histogram.count / 288 / len(support.CALIBRATION)
    assert steps > 3
    one = sorted(json.loads(cache.read_text()).values())
    assert sorted(times.values()) == [steps * seconds for seconds in one]
    # A layer with one scheme is not measured: there is nothing to choose.
    assert measured(model, some("moonshine", ("encoder.conv1",)), histograms, 3, cache) == {
        "model.encoder.conv1": {"residual code": 0.0}
    }
