"""The Moonshine graphs against transformers' own module, with the real weights and with random ones in another form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import support
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor, nn

from stablequant.errors import ModelError
from stablequant.families.moonshine import Moonshine
from stablequant.network.execute import Executor, TorchBackend
from stablequant.network.graph import Graph

#: Settings that the real checkpoint does not have: biases in attention, an odd part of the head rotated, other depths.
OTHER: dict[str, Any] = {
    "vocab_size": 23,
    "hidden_size": 48,
    "intermediate_size": 64,
    "encoder_num_hidden_layers": 2,
    "decoder_num_hidden_layers": 3,
    "encoder_num_attention_heads": 4,
    "decoder_num_attention_heads": 4,
    "attention_bias": True,
    "encoder_hidden_act": "relu",
    "decoder_hidden_act": "gelu",
    "rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.6},
}


@pytest.fixture(scope="module")
def reference() -> Any:
    return transformers.MoonshineForConditionalGeneration.from_pretrained(support.MOONSHINE, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, tuple[Graph, Graph]]:
    folder = tmp_path_factory.mktemp("moonshine")
    torch.manual_seed(0)
    model = transformers.MoonshineForConditionalGeneration(transformers.MoonshineConfig(**OTHER)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
            else:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    model.save_pretrained(folder)
    return model, Moonshine().build(config(folder), load_file(folder / "model.safetensors"))


def config(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return loaded


def encode(graph: Graph, sound: Tensor) -> dict[str, Tensor]:
    return Executor(graph).run({"input_values": sound[None], "input_lengths": torch.tensor([len(sound)])})


def decode(graph: Graph, encoded: dict[str, Tensor], ids: Tensor, past: dict[str, Tensor]) -> dict[str, Tensor]:
    fed = {spec.name for spec in graph.inputs}
    values = {name: value for name, value in encoded.items() if name in fed}
    return Executor(graph).run({"input_ids": ids, **values, **past})


def empty(graph: Graph) -> dict[str, Tensor]:
    specs = [s for s in graph.inputs if s.name.startswith("past_")]
    return {s.name: torch.zeros(1, int(s.shape[1]), 0, int(s.shape[3])) for s in specs}


def assert_same_as_module(model: Any, graphs: tuple[Graph, Graph], sound: Tensor, ids: Tensor) -> None:
    encoded = encode(graphs[0], sound)
    with torch.inference_mode():
        hidden = model.model.encoder(sound[None]).last_hidden_state
        assert encoded["encoder_lengths"].tolist() == [hidden.shape[1]]
        for i, layer in enumerate(model.model.decoder.layers):
            for role in ("key", "value"):
                projected = getattr(layer.encoder_attn, f"{role[0]}_proj")(hidden)
                heads = encoded[f"cross_{role}_{i}"]
                assert support.relative_difference(heads.transpose(1, 2).flatten(2), projected) < 1e-4
        expected = model(sound[None], decoder_input_ids=ids).logits
    whole = decode(graphs[1], encoded, ids, empty(graphs[1]))
    assert support.relative_difference(whole["logits"], expected) < 1e-4

    first = decode(graphs[1], encoded, ids[:, :2], empty(graphs[1]))
    past = {f"past_{name}": value for name, value in first.items() if name.startswith(("key_", "value_"))}
    later = decode(graphs[1], encoded, ids[:, 2:], past)
    assert support.relative_difference(later["logits"], expected[:, 2:]) < 1e-4
    assert support.relative_difference(later["value_0"], whole["value_0"]) < 1e-4


def test_encoder_and_decoder_compute_what_transformers_does(reference: Any) -> None:
    graphs = support.moonshine().graphs
    sound = torch.from_numpy(support.waveform("vm-nomore"))
    assert_same_as_module(reference, (graphs[0], graphs[1]), sound, torch.tensor([[1, 1939, 901, 7191, 29889]]))


def test_another_form_computes_what_transformers_does(other: tuple[Any, tuple[Graph, Graph]]) -> None:
    sound = torch.randn(9000, generator=torch.Generator().manual_seed(1))
    assert_same_as_module(*other, sound, torch.tensor([[1, 4, 22, 7, 7, 3]]))


def test_every_linear_and_convolution_is_an_operation(reference: Any, other: tuple[Any, tuple[Graph, Graph]]) -> None:
    for model, graphs in ((reference, support.moonshine().graphs), other):
        modules = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv1d)}
        nodes = [(graph, node) for graph in graphs for node in graph.quantisable()]
        assert sorted(node.name for _, node in nodes) == sorted(modules)
        for graph, node in nodes:
            assert torch.equal(graph.weights[node.weights["weight"]], modules[node.name].weight)
            assert ("bias" in node.weights) == (modules[node.name].bias is not None)


def test_every_weight_of_the_checkpoint_is_used() -> None:
    used = {key for graph in support.moonshine().graphs for node in graph.nodes for key in node.weights.values()}
    stored = set(load_file(support.MOONSHINE / "model.safetensors"))
    assert used - {"rotary.frequencies", "rotary.rotation"} == stored


def test_a_batch_gives_what_its_parts_give() -> None:
    model = support.moonshine()
    sounds = support.waveforms()
    assert len({len(s) for s in sounds}) == len(sounds)
    batch = Executor(model.graph("encoder")).run(support.feeds(model, sounds))
    for row, sound in enumerate(sounds):
        alone = encode(model.graph("encoder"), torch.from_numpy(sound))
        frames = int(alone["encoder_lengths"][0])
        assert int(batch["encoder_lengths"][row]) == frames
        for name in model.graph("encoder").outputs:
            if name.startswith("cross_"):
                assert support.relative_difference(batch[name][row, :, :frames], alone[name][0]) < 1e-4


def test_greedy_tokens_of_a_batch_are_those_of_generate(reference: Any) -> None:
    model = support.moonshine()
    sounds = support.waveforms()
    backend = TorchBackend({g.name: Executor(g) for g in model.graphs})
    transcripts = model.frontend.recognize(backend, sounds)
    assert len({t.text for t in transcripts}) == len(sounds)
    for transcript, sound in zip(transcripts, sounds, strict=True):
        with torch.inference_mode():
            expected = reference.generate(torch.from_numpy(sound)[None], max_new_tokens=40, do_sample=False)
        assert not transcript.truncated
        assert [1, *transcript.tokens, 2] == expected[0].tolist()


def test_missing_weights_of_both_halves_are_listed_at_once() -> None:
    weights = load_file(support.MOONSHINE / "model.safetensors")
    gone = {"model.encoder.conv2.weight", "model.decoder.layers.5.mlp.fc2.bias"}
    with pytest.raises(ModelError) as caught:
        Moonshine().build(config(support.MOONSHINE), {k: v for k, v in weights.items() if k not in gone})
    for key in gone:
        assert key in str(caught.value)
