"""The kin of wav2vec 2.0 against transformers' modules: float, in batches, and in int8 as simulated and as exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import support
import torch
from kin import FORMS, Form, checkpoint
from numpy.typing import NDArray
from torch import Tensor, nn

from stablequant.export import parity
from stablequant.export.targets import TARGETS
from stablequant.export.translate import to_onnx
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.grid.frame import PerFrame
from stablequant.network.execute import Executor
from stablequant.observe.collect import observe
from stablequant.quantize.by_frame import by_frame
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.openvino import OpenVinoBackend
from stablequant.runtime.torch_int8 import TorchInt8Backend
from stablequant.settings import Settings

Waveform = NDArray[np.float32]
#: Samples, of unequal length; none a multiple of a stride.
SAMPLES = (1703, 1238, 907)


@dataclass(frozen=True)
class Pair:
    """The same checkpoint as transformers and we load it."""

    form: Form
    theirs: Any
    ours: SpeechModel


@pytest.fixture(scope="module", params=FORMS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("checkpoint")
    form = FORMS[request.param]
    return Pair(form, checkpoint(folder, form), load(folder))


def utterances(pair: Pair) -> list[Waveform]:
    random = np.random.default_rng(1)
    scale = 1 if reads_waveform(pair) else 12  # a frame of a spectrogram takes more samples
    return [random.normal(size=scale * n).astype(np.float32) for n in SAMPLES]


def reads_waveform(pair: Pair) -> bool:
    return pair.ours.graphs[0].inputs[0].name == "input_values"


def ours(pair: Pair, feeds: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    out = Executor(pair.ours.graphs[0]).run({name: torch.as_tensor(value) for name, value in feeds.items()})
    return out["logits"], out["frames"]


def theirs(pair: Pair, feeds: Mapping[str, NDArray[Any]], *, masked: bool) -> Tensor:
    x, lengths = (torch.from_numpy(feeds[i.name]) for i in pair.ours.graphs[0].inputs)
    mask = {"attention_mask": torch.arange(x.shape[1]) < lengths[:, None]} if masked else {}
    with torch.inference_mode():
        return pair.theirs(x, **mask).logits


def difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max())


def test_each_utterance_alone_is_what_transformers_computes(pair: Pair) -> None:
    for waveform in utterances(pair):
        feeds = pair.ours.frontend.features([waveform]).feeds
        logits, frames = ours(pair, feeds)
        expected = theirs(pair, feeds, masked=pair.form.exact_in_batches)
        assert frames.tolist() == [logits.shape[1]]
        assert expected.std() > 0.1
        assert difference(logits, expected[:, : logits.shape[1]]) < 1e-4
        assert expected.shape[1] - logits.shape[1] in ((0, 1) if "input_features" in feeds else (0,))


@pytest.mark.parametrize("fill", [0.0, 50.0])
def test_a_batch_gives_what_its_parts_give_whatever_pads_it(pair: Pair, fill: float) -> None:
    features = pair.ours.frontend.features(utterances(pair)).feeds
    x, lengths = (features[i.name].copy() for i in pair.ours.graphs[0].inputs)
    for row, count in zip(x, lengths, strict=True):
        row[count:] = fill
    logits, frames = ours(pair, dict(zip(features, (x, lengths), strict=True)))
    for row, count, waveform in zip(logits, frames, utterances(pair), strict=True):
        alone, steps = ours(pair, pair.ours.frontend.features([waveform]).feeds)
        assert count == steps[0]
        assert difference(row[:count], alone[0]) < 1e-4


@pytest.mark.parametrize("pair", [n for n, form in FORMS.items() if form.exact_in_batches], indirect=True)
def test_a_batch_is_what_transformers_computes_with_a_mask(pair: Pair) -> None:
    feeds = pair.ours.frontend.features(utterances(pair)).feeds
    logits, frames = ours(pair, feeds)
    expected = theirs(pair, feeds, masked=True)
    for row, reference, count in zip(logits, expected, frames, strict=True):
        assert difference(row[:count], reference[:count]) < 1e-4


def modules(model: nn.Module) -> set[str]:
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
    unused = "encoder.pos_conv_embed" if "Conformer" in type(model).__name__ else "nothing"
    return {name for name, module in model.named_modules() if isinstance(module, kinds) and unused not in name}


def test_every_layer_is_in_int8_in_the_file_and_the_file_computes_what_the_simulation_does(pair: Pair) -> None:
    model = pair.ours
    sounds = utterances(pair)
    settings = Settings.parse({"scales": "frame"})
    scheme = by_frame(model, observe(model, [sounds]), settings)
    # Positions that are looked up are a linear layer of ours, and an embedding of transformers.
    tables = {op.name for op in model.ops() if op.name.endswith("distance_embedding")}
    assert scheme.keys() - tables == modules(pair.theirs)
    assert any(isinstance(layer.activations[0], PerFrame) for layer in scheme.values())

    simulation = Simulator(model).backend(scheme)
    files = {}
    for target in ("onnxruntime", "openvino"):
        proto = to_onnx(model.graphs[0], scheme, WeightStore(model.layer_weights()), TARGETS[target])
        files[target] = {"model": proto.SerializeToString()}
        codes = [i for i in proto.graph.initializer if i.data_type in (2, 3) and len(i.dims) > 1]  # uint8, int8
        assert len(codes) == len(scheme)
    speech = [sound[:12_000] for sound in support.waveforms()[:2]]
    (kernels,) = parity.compare(model.frontend, simulation, TorchInt8Backend(model, scheme), None, speech)
    assert kernels.passed, kernels
    for target, runs in (
        ("onnxruntime", OnnxRuntimeBackend(files["onnxruntime"], threads=1)),
        ("openvino", OpenVinoBackend(files["openvino"], threads=1)),
    ):
        plain = OnnxRuntimeBackend(files[target], threads=1, optimise=False)
        found = parity.compare(model.frontend, simulation, plain, (target, runs), speech)
        assert all(p.passed and p.limit < 0.3 for p in found), found
