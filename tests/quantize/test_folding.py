"""A fold leaves the float model as it was, makes what layers read easier to round, and tells where it cannot."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import kin
import numpy as np
import pytest
import support
import torch
import whispers
from torch import Tensor

import stablequant as sq
from stablequant.errors import DataError, SettingsError
from stablequant.export.translate import to_onnx
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.grid.weights import PerGroup, WeightSpec, quantize_weight
from stablequant.network.execute import Executor
from stablequant.network.graph import Graph
from stablequant.observe.channels import observe_channels
from stablequant.quantize import folding
from stablequant.quantize.folding import FOLDS, fold
from stablequant.quantize.folding.awq import awq_factors
from stablequant.quantize.folding.folded import Folded
from stablequant.quantize.folding.rewriting import Rewriting
from stablequant.quantize.folding.scales import ScaleSites, apply
from stablequant.quantize.folding.smooth import smooth_factors
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend

SHORT = support.SHORT[:1]
CALIBRATION = support.CALIBRATION[:1]
#: Real models, and families of other shapes: norms behind blocks, adapters, gated convolutions, ReLU, biases in every norm.
PARITY = [(name, method) for name in support.MODELS for method in ("smooth", "rotate")]
PARITY += [("whisper", "rotate"), ("unispeech", "smooth"), ("mms", "rotate"), ("conformer-relative", "smooth")]
PARITY += [("parakeet-larger", "smooth"), ("bert-adapter", "smooth")]


def logits(model: SpeechModel, backend: Any = None) -> np.ndarray:
    """Of one recording; a decoder is given three tokens."""
    run = backend or Simulator(model).backend({})
    outputs = model.frontend.encode(run, model.frontend.features(support.waveforms(SHORT)))
    if len(model.graphs) > 1:
        given = {i.name: outputs[i.name] for i in model.graph("decoder").inputs if i.name in outputs}
        past = {name: run.put(value.numpy()) for name, value in support.empty_past(model, 1).items()}
        outputs = run.run("decoder", {"input_ids": run.put(np.array([[1, 20, 7]])), **given, **past})
    return np.asarray(outputs["logits"])


def small(name: str, folder: Path) -> SpeechModel:
    """A small checkpoint with random weights."""
    if name == "whisper":
        whispers.save(folder, multilingual=False)
    else:
        kin.checkpoint(folder, kin.FORMS[name])
    return load(folder)


@cache
def folded(name: str, method: str) -> Folded:
    """A real model."""
    return fold(support.MODELS[name](), support.speech(CALIBRATION), method)


@pytest.mark.parametrize(("name", "method"), PARITY)
def test_a_folded_model_computes_what_it_did(name: str, method: str, tmp_path: Path) -> None:
    real = name in support.MODELS
    model = support.MODELS[name]() if real else small(name, tmp_path)
    before = dict(model.layer_weights())
    made = folded(name, method) if real else fold(model, support.speech(CALIBRATION), method)
    assert support.relative_difference(logits(made.model), logits(model)) < 1e-5
    # It is another model, and the layers that are told of have other weights; the rest is untouched, and so is the original.
    after = dict(made.model.layer_weights())
    assert {n for n in before if after[n].shape != before[n].shape or not torch.equal(after[n], before[n])} >= set(
        made.layers
    )
    assert made.model.fingerprint != model.fingerprint
    assert set(made.layers) | set(made.left) == set(before)
    assert all(torch.equal(weight, before[n]) for n, weight in dict(model.layer_weights()).items())


def test_what_is_folded_and_what_is_not_is_told() -> None:
    model = support.graft()
    smooth, rotate = (folded("graft", method) for method in ("smooth", "rotate"))
    layer = "wavlm.encoder.layers.0"
    reads = {f"{layer}.attention.{p}" for p in ("q_proj", "k_proj", "v_proj", "out_proj")}
    assert reads | {f"{layer}.feed_forward.intermediate_dense"} <= set(smooth.layers) & set(rotate.layers)
    assert smooth.left[f"{layer}.feed_forward.output_dense"] == "behind gelu"
    assert smooth.left["wavlm.encoder.pos_conv_embed.conv"] == "in groups"
    # The gate has one weight for all heads: factors leave it a norm of its own, a rotation writes it out over all channels.
    gate = f"{layer}.attention.gru_rel_pos_linear"
    assert smooth.left[gate] == "it reads all heads with one weight"
    assert any(n.name == f"{layer}.layer_norm.scaled" for n in smooth.model.graphs[0].nodes)
    assert rotate.model.layer_weights()[gate].shape == (8 * 2, 288)
    assert f"{layer}.feed_forward.output_dense" in rotate.model.notes[-2] and "behind gelu" in rotate.model.notes[-2]
    assert "an operation of its own" in rotate.model.notes[-1]
    assert rotate.model.float_bytes > smooth.model.float_bytes > model.float_bytes


def test_a_tied_embedding_is_left_alone_or_gets_a_table_of_its_own() -> None:
    model = support.moonshine()
    found = ScaleSites.of(Rewriting(model), ("linear",))
    assert found.left["proj_out"] == "its weight is another operation's too"
    rotated = folded("moonshine", "rotate").model
    (embedding,) = (n for n in rotated.graph("decoder").nodes if n.kind == "embedding")
    assert not embedding.shares
    vocabulary, channels = rotated.layer_weights()["proj_out"].shape
    rest = 288 * 288 * 4  # the operation that begins the encoder's rotation
    assert rotated.float_bytes - model.float_bytes == 4 * vocabulary * channels + rest


def test_norms_whose_sum_goes_on_are_not_rotated_and_are_written_twice_to_be_scaled(tmp_path: Path) -> None:
    model = small("unispeech", tmp_path)
    rotate = fold(model, None, "rotate")
    name = "unispeech.encoder.layers.0.attention"
    assert rotate.left[f"{name}.q_proj"] == "a norm is also read by add"
    assert f"{name}.out_proj" in rotate.layers
    assert f"{name}.q_proj" in fold(model, support.speech(CALIBRATION), "smooth").layers


def test_channels_that_bands_share_are_left_alone(tmp_path: Path) -> None:
    # Bands of a spectrogram become channels of one row, but each is written by the same channels of a convolution.
    left = ScaleSites.of(Rewriting(small("parakeet-larger", tmp_path)), ("linear",)).left
    assert left["encoder.subsampling.linear"] == "its channels are not those that are written"


def planted(model: SpeechModel, factor: float) -> SpeechModel:
    """The same function with one channel behind every norm ahead of attention ``factor`` times as large."""
    work = Rewriting(model)
    for site in ScaleSites.of(work, ("linear",)).sites:
        if not site.observed.endswith("q_proj"):
            continue
        factors = torch.ones(288).double()
        factors[7] = 1 / factor
        apply(work, site, factors)
    return work.model()


def test_an_outlying_channel_lies_out_less() -> None:
    speech = support.speech(CALIBRATION)
    model = planted(support.graft(), 40.0)
    layers = [f"wavlm.encoder.layers.{i}.attention.{p}_proj" for i in range(6) for p in "qkv"]

    def ratios(of: SpeechModel) -> np.ndarray:
        found = observe_channels(of, map(speech.waveforms_of, speech.batches), layers)
        return np.array([float(found[name].largest.max() / found[name].mean.mean()) for name in layers])

    before, smooth, rotated = (ratios(m) for m in (model, sq.fold(model, speech), sq.fold(model, method="rotate")))
    assert (before > 40).all()
    assert (smooth < before / 4).all()
    assert (rotated < before / 2).all()


def test_smooth_factors_by_hand() -> None:
    largest = torch.tensor([16.0, 4.0, 0.0, 9.0])
    q, k = torch.tensor([[1.0, -2.0, 3.0, 0.0], [0.5, 1.0, 1.0, 0.0]]), torch.tensor([[-4.0, 1.0, 0.0, 0.0]])
    # max|W| over both is 4, 2, 3, 0: 16^.5 / 4^.5, 4^.5 / 2^.5, and 1 where channel or weights are nothing.
    expected = [2.0, 2**0.5, 1.0, 1.0]
    assert smooth_factors(largest, [q.double(), k.double()], 0.5).tolist() == pytest.approx(expected)
    # At 3/4: 16^.75 / 4^.25 and 4^.75 / 2^.25.
    expected = [8.0 / 2**0.5, 2**1.25, 1.0, 1.0]
    assert smooth_factors(largest, [q.double(), k.double()], 0.75).tolist() == pytest.approx(expected)
    # A convolution's weights of a channel are those of all its taps.
    taps = torch.tensor([[[1.0, 4.0]]]).double()
    assert smooth_factors(torch.tensor([16.0]), [taps], 0.5).tolist() == pytest.approx([2.0])


def test_awq_takes_the_exponent_whose_output_errs_least() -> None:
    torch.manual_seed(0)
    x = torch.randn(400, 64).double() * torch.linspace(-3, 3, 64).exp()
    weights, spec = [torch.randn(24, 64).double(), torch.randn(8, 64).double()], WeightSpec(3, PerGroup(32))
    mean, steps = x.abs().mean(0), 4

    def error(factors: Tensor) -> float:
        rounded = [quantize_weight((w * factors).float(), spec).dequantized().double() / factors for w in weights]
        return sum(float(((x @ (w - r).T) ** 2).mean(0).sum()) for w, r in zip(weights, rounded, strict=True))

    found = awq_factors(mean, weights, x.T @ x / len(x), spec, steps)
    assert float(found.max() * found.min()) == pytest.approx(1.0)
    powers = [mean ** (i / steps) for i in range(steps + 1)]
    tried = [f / (f.max() * f.min()).sqrt() for f in powers]
    best = int(np.argmin([error(f) for f in tried]))
    assert best > 0, "else nothing was searched"
    torch.testing.assert_close(found, tried[best])


def test_awq_leaves_the_float_model_as_it_was() -> None:
    model = support.graft()
    made = fold(model, support.speech(CALIBRATION), "awq", steps=1)
    assert support.relative_difference(logits(made.model), logits(model)) < 1e-5
    assert "wavlm.encoder.layers.3.attention.k_proj" in made.layers


def chain(*between: str) -> SpeechModel:
    """Two linear layers of 12 channels with activation functions between them, in the frame of a real model."""
    torch.manual_seed(1)
    weights = {f"{n}.{r}": torch.randn(*s) for n in "ab" for r, s in (("weight", (12, 12)), ("bias", (12,)))}
    g = Graph("model", weights)
    x = g.linear(g.input("x", "float32", ("batch", "time", 12)), "a")
    for function in between:
        x = g.add("activation", x, function=function)
    g.output(g.linear(x, "b"), "y", ("batch", "time", 12))
    return replace(support.graft(), graphs=(g,))


@pytest.mark.parametrize(
    ("between", "rotated", "scaled"),
    [((), True, True), (("relu",), False, True), (("tanh",), False, False), (("relu", "gelu"), False, False)],
)
def test_what_stands_between_two_layers_decides(between: tuple[str, ...], rotated: bool, scaled: bool) -> None:
    model = chain(*between)
    made = fold(model, None, "rotate")
    assert (made.layers == ("b",)) == rotated
    assert made.left["a"] == "comes from outside"
    assert rotated or made.left["b"] == f"behind {between[-1]}"
    assert ("b" in [site.observed for site in ScaleSites.of(Rewriting(model), ("linear",)).sites]) == scaled
    x = {"x": torch.randn(1, 5, 12)}
    before, after = (Executor(m.graphs[0]).run(x)["y"] for m in (model, made.model))
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    assert torch.equal(after, before) != rotated


def test_a_folded_model_is_quantised_and_written_as_any_other() -> None:
    model = support.graft()
    speech = support.speech(CALIBRATION)
    made = sq.fold(sq.fold(model, speech, "smooth", strength=0.3), method="rotate", seed=4)
    scheme = sq.scheme(made, sq.observe(made, speech))
    store = WeightStore.of(made)
    files = {g.name: to_onnx(g, scheme, store).SerializeToString() for g in made.graphs}
    simulated = logits(made, Simulator(made, weights=store).backend(scheme))
    written = logits(made, OnnxRuntimeBackend(files, threads=1, optimise=False))
    assert support.relative_difference(written, simulated) < 0.02
    assert support.relative_difference(written, logits(model)) > 1e-3, "it is rounded"


def test_seeds_make_other_rotations() -> None:
    model = chain()
    first, again, other = (fold(model, None, "rotate", seed=s).model for s in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_methods_are_in_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    model = chain()
    for method, options, complaint in (
        ("turn", {}, "one of smooth, awq, rotate"),
        ("rotate", {"strength": 0.5}, "only seed"),
        ("smooth", {"strength": 1.5}, "0 to 1"),
    ):
        with pytest.raises(SettingsError, match=complaint):
            sq.fold(model, method=method, **options)
    for method in ("smooth", "awq"):
        with pytest.raises(DataError, match="there is no speech"):
            sq.fold(model, method=method)
    with pytest.raises(SettingsError, match="there is a fold 'smooth' already"):
        sq.fold_method("smooth")(fold)
    monkeypatch.setattr(folding, "FOLDS", dict(FOLDS))
    sq.fold_method("own")(lambda model, speech=None, *, seed=7: fold(model, speech, "rotate", seed=seed))
    assert sq.fold(model, method="own").fingerprint == sq.fold(model, method="rotate", seed=7).fingerprint
