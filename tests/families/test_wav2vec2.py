"""The CTC families against transformers' modules, all parameters random, and against their own batches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor, nn

from stablequant.errors import ModelError
from stablequant.families.wav2vec2 import Wav2Vec2
from stablequant.network.execute import Executor
from stablequant.network.graph import Graph, Node

Loaded = tuple[Any, dict[str, Tensor], Graph]

ROOT = Path(__file__).parents[2]
GRAFT = ROOT / "tests" / "assets" / "wavlm-graft"

TINY: dict[str, Any] = {
    "vocab_size": 13,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16, 16, 24),
    "conv_kernel": (10, 3, 2),
    "conv_stride": (5, 2, 2),
    "num_conv_pos_embedding_groups": 4,
}
POST = {
    "feat_extract_norm": "group",
    "conv_bias": False,
    "do_stable_layer_norm": False,
    "num_conv_pos_embeddings": 16,
}
STABLE = {
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
    "num_conv_pos_embeddings": 15,
}
#: No checkpoint has these together; here they keep one setting from standing in for another.
CROSSED = STABLE | {"feat_extract_norm": "group", "layer_norm_eps": 1e-2, "hidden_act": "relu"}
#: Few buckets and a short reach, so that the test's utterances go beyond it.
NEAR = {"num_buckets": 16, "max_bucket_distance": 20}

FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2-post": ("Wav2Vec2", POST),
    "wav2vec2-stable": ("Wav2Vec2", STABLE),
    "hubert-post": ("Hubert", POST | {"feat_proj_layer_norm": False}),
    "hubert-stable": ("Hubert", STABLE),
    "wavlm-post": ("WavLM", POST | NEAR),
    "wavlm-stable": ("WavLM", STABLE | NEAR),
    "crossed": ("Wav2Vec2", CROSSED),
    "unispeech-post": ("UniSpeech", POST),
    "unispeech-sat-stable": ("UniSpeechSat", STABLE | {"hidden_act": "gelu_new"}),
    "prelu": ("Wav2Vec2", POST | {"hidden_act": "prelu"}),
    "xielu": ("WavLM", STABLE | NEAR | {"hidden_act": "xielu"}),
    "adapters": (
        "Wav2Vec2",
        STABLE | {"adapter_attn_dim": 6, "add_adapter": True, "output_hidden_size": 24, "num_adapter_layers": 2},
    ),
    "wavlm-adapter": ("WavLM", POST | NEAR | {"add_adapter": True, "num_adapter_layers": 1, "adapter_stride": 3}),
}
#: Forms in which transformers itself keeps padding out; its group norm and its strided adapter count it in.
EXACT_IN_BATCHES = [
    name
    for name, (_, settings) in FORMS.items()
    if settings["feat_extract_norm"] == "layer" and not settings.get("add_adapter")
]
SAMPLES = (1700, 1234, 703)


def checkpoint(folder: Path, family: str, settings: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """A saved model whose every parameter is random, and its config.json."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**TINY, **settings)
    model = (
        getattr(transformers, f"{family}ForCTC")(config).eval().float()
    )  # xIELU has its parameters in bfloat16 by itself
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.shape[0] > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
            else:  # norms, biases, gates and weight norm's lengths: a constant would hide a mistake
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    model.save_pretrained(folder)
    return model, json.loads((folder / "config.json").read_text())


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Name, transformers' model, checkpoint's weights and graph of one family and form."""
    folder = tmp_path_factory.mktemp("checkpoint")
    model, config = checkpoint(folder, *FORMS[request.param])
    weights = load_file(folder / "model.safetensors")
    return request.param, model, weights, Wav2Vec2().build(config, weights)[0]


def utterances() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, generator=generator) for n in SAMPLES]


def padded(waveforms: list[Tensor], fill: float = 0.0) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(w) for w in waveforms])
    return nn.utils.rnn.pad_sequence(waveforms, batch_first=True, padding_value=fill), lengths


def run(graph: Graph, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    out = Executor(graph).run({"input_values": values, "input_lengths": lengths})
    return out["logits"], out["frames"]


def difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max())


def test_each_utterance_alone_is_what_transformers_computes(form: Any) -> None:
    _, model, _, graph = form
    for waveform in utterances():
        logits, frames = run(graph, *padded([waveform]))
        with torch.inference_mode():
            expected = model(waveform[None]).logits
        assert frames.tolist() == [expected.shape[1]]
        assert expected.std() > 0.1
        assert difference(logits, expected) < 1e-4


@pytest.mark.parametrize("fill", [0.0, 50.0])
def test_a_batch_gives_what_its_parts_give_whatever_pads_it(form: Any, fill: float) -> None:
    _, _, _, graph = form
    logits, frames = run(graph, *padded(utterances(), fill))
    for row, count, waveform in zip(logits, frames, utterances(), strict=True):
        alone, steps = run(graph, *padded([waveform]))
        assert count == steps[0]
        assert difference(row[:count], alone[0]) < 1e-4


@pytest.mark.parametrize("form", EXACT_IN_BATCHES, indirect=True)
def test_a_batch_is_what_transformers_computes_with_a_mask(form: Any) -> None:
    _, model, _, graph = form
    values, lengths = padded(utterances())
    logits, frames = run(graph, values, lengths)
    with torch.inference_mode():
        expected = model(values, attention_mask=torch.arange(values.shape[1]) < lengths[:, None]).logits
    for row, reference, count in zip(logits, expected, frames, strict=True):
        assert difference(row[:count], reference[:count]) < 1e-4


def modules(model: nn.Module) -> dict[str, nn.Linear | nn.Conv1d]:
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv1d)}


def assert_complete(model: nn.Module, weights: Mapping[str, Tensor], graph: Graph) -> None:
    """Every layer of the model is an operation with an int8 form; every weight of the checkpoint is used."""
    named = modules(model)
    operations = {node.name: node for node in graph.quantisable()}
    assert operations.keys() == named.keys()
    for name, module in named.items():
        node, gate = operations[name], name.endswith("gru_rel_pos_linear")
        shape = (2, module.weight.shape[1]) if gate else module.weight.shape
        assert graph.weights[node.weights["weight"]].shape == shape
        assert ("bias" in node.weights) == (module.bias is not None)

    used = {key for node in graph.nodes for key in node.weights.values()}
    norm = {key for key in weights if "pos_conv_embed.conv.parametrizations" in key}
    folded = {key for key in used if key.endswith("pos_conv_embed.conv.weight")}
    unused = {key for key in weights if key.endswith("masked_spec_embed")}
    assert len(norm) == 2
    assert len(folded) == 1
    assert used == set(weights) - norm - unused | folded
    same = {key for key in used - folded if "rel_pos_linear" not in key and "rel_attn_embed" not in key}
    assert sum(graph.weights[k].numel() for k in same) == sum(weights[k].numel() for k in same)


def test_no_layer_and_no_weight_is_left_out(form: Any) -> None:
    _, model, weights, graph = form
    assert_complete(model, weights, graph)


def test_the_checkpoint_is_left_as_it_is(form: Any) -> None:
    _, model, weights, _ = form
    before = model.state_dict()
    assert weights.keys() == before.keys()
    assert all(torch.equal(weights[key], before[key]) for key in weights)


def test_every_operation_knows_the_valid_steps_of_its_input(form: Any) -> None:
    _, model, _, graph = form
    values, lengths = padded(utterances())
    seen: dict[str, Tensor] = {}

    def watch(
        node: Node, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor], valid: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
        assert valid is not None
        assert int(valid.max()) == inputs[0].shape[-2]
        seen[node.name] = valid
        return inputs, weights

    Executor(graph).run({"input_values": values, "input_lengths": lengths}, watch)
    assert len(seen) == len(graph.quantisable(matmuls=True))
    base = f"{model.base_model_prefix}.feature_extractor.conv_layers"
    assert seen[f"{base}.0.conv"].tolist() == list(SAMPLES)
    assert torch.equal(seen["lm_head"], model._get_feat_extract_output_lengths(lengths))


def test_both_spellings_of_weight_norm_fold_to_the_same_weight(form: Any) -> None:
    _, model, weights, graph = form
    spelled = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for key, value in weights.items()
    }
    assert spelled.keys() != weights.keys()
    other = Wav2Vec2().build(model.config.to_dict(), spelled)[0]
    key = f"{model.base_model_prefix}.encoder.pos_conv_embed.conv.weight"
    torch.testing.assert_close(other.weights[key], graph.weights[key], rtol=0, atol=0)
    convolution = getattr(model, model.base_model_prefix).encoder.pos_conv_embed.conv
    torch.testing.assert_close(graph.weights[key], convolution.weight.detach(), rtol=1e-6, atol=1e-7)


@pytest.fixture(scope="module")
def graft() -> Loaded:
    """The model as transformers loads it, weights and graph of the real checkpoint."""
    model = transformers.WavLMForCTC.from_pretrained(GRAFT, dtype=torch.float32).eval()
    weights = {key: value.float() for key, value in load_file(GRAFT / "model.safetensors").items()}
    return model, weights, Wav2Vec2().build(json.loads((GRAFT / "config.json").read_text()), weights)[0]


def test_the_real_model_is_what_transformers_computes(graft: Loaded) -> None:
    model, weights, graph = graft
    assert_complete(model, weights, graph)
    files = sorted((ROOT / "examples" / "asterisk" / "audio").glob("*.flac"))[:3]
    speech = [torch.from_numpy(soundfile.read(file, dtype="float32")[0][:48000]) for file in files]
    batch, frames = run(graph, *padded(speech))
    for row, count, waveform in zip(batch, frames, speech, strict=True):
        with torch.inference_mode():
            expected = model(waveform[None]).logits
        logits, _ = run(graph, *padded([waveform]))
        # Trained logits span some 25; how their sums round differs with the processor's kernels.
        span = float(expected.max() - expected.min())
        assert difference(logits, expected) < 1e-5 * span
        assert difference(row[:count], expected[0]) < 1e-5 * span
        assert torch.equal(logits.argmax(-1), expected.argmax(-1))


def test_relative_positions_are_exact_within_and_beyond_the_reach(graft: Loaded) -> None:
    model, _, graph = graft
    attention = model.wavlm.encoder.layers[0].attention
    steps, reach = 1000, attention.max_distance
    table = graph.weights["wavlm.encoder.layers.0.attention.rel_attn_embed.weight"]
    distance = np.clip(np.arange(steps)[None] - np.arange(steps)[:, None], -reach, reach) + reach
    with torch.inference_mode():
        expected = attention.compute_bias(steps, steps)
    assert torch.equal(table[torch.from_numpy(distance)].permute(2, 0, 1), expected)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"add_adapter": True}, "add_adapter"),
        ({"adapter_attn_dim": 16}, "adapter_attn_dim"),
        ({"model_type": "wav2vec2", "adapter_attn_dim": 16}, "do_stable_layer_norm"),
        ({"conv_pos_batch_norm": True}, "batch norm"),
        ({"model_type": "sew"}, "sew"),
        ({"feat_extract_norm": "batch"}, "group or layer"),
        ({"hidden_act": "swoosh"}, "one of gelu, .*mish"),
        ({"feat_extract_activation": "prelu"}, "one of gelu, .*mish"),
        ({"conv_stride": [5, 2]}, "conv_stride"),
        ({"num_attention_heads": 5}, "num_attention_heads"),
        ({"model_type": "wavlm", "max_bucket_distance": 80}, "max_bucket_distance"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelError, match=named) as caught:
        Wav2Vec2().build({"model_type": "hubert", **TINY, **change}, {})
    assert "Expected" in str(caught.value)


def test_missing_weights_are_listed_all_at_once(form: Any) -> None:
    _, model, weights, _ = form
    prefix = model.base_model_prefix
    gone = {
        f"{prefix}.encoder.layers.1.attention.k_proj.bias",
        f"{prefix}.feature_extractor.conv_layers.2.conv.weight",
        f"{prefix}.encoder.layers.0.final_layer_norm.weight",
        "lm_head.weight",
    }
    magnitude = f"{prefix}.encoder.pos_conv_embed.conv.parametrizations.weight.original0"
    left = {key: value for key, value in weights.items() if key not in gone | {magnitude}}
    with pytest.raises(ModelError) as caught:
        Wav2Vec2().build(model.config.to_dict(), left)
    assert f"lacks {len(gone) + 1} of the weights" in str(caught.value)
    for key in (*gone, f"{prefix}.encoder.pos_conv_embed.conv.weight"):
        assert key in str(caught.value)
