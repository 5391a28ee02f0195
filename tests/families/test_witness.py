"""Every linear, convolution and product of activations in transformers' own model is an operation of our graphs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import witness
from kin import FORMS as KIN
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from stablequant.families.family import FAMILIES
from stablequant.network.graph import Graph, Node

#: PyTorch's own, about how it copies what it exports.
pytestmark = pytest.mark.filterwarnings("ignore:.isinstance.treespec:FutureWarning")

CTC: dict[str, Any] = {
    "vocab_size": 13,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16, 16),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
CTC_FORMS = {
    "post": CTC | {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False},
    "stable": CTC | {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
}
SEQ2SEQ: dict[str, Any] = {
    "vocab_size": 23,
    "hidden_size": 48,
    "intermediate_size": 64,
    "encoder_num_hidden_layers": 1,
    "decoder_num_hidden_layers": 1,
    "encoder_num_attention_heads": 4,
    "decoder_num_attention_heads": 4,
}
#: Another size has no other products, nor have positions that another class has too.
DISTINCT = {
    name: form
    for name, form in KIN.items()
    if not name.endswith("-larger") and name not in ("bert-relative", "bert-rotary")
}
WINDOW: dict[str, Any] = {
    "d_model": 48,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 72,
    "max_source_positions": 30,
    "max_target_positions": 20,
    "pad_token_id": 0,
    "eos_token_id": 0,
    "bos_token_id": 0,
    "decoder_start_token_id": 1,
    "begin_suppress_tokens": None,
}
#: By class: configurations that differ in the operations they lead to.
FORMS: dict[str, dict[str, dict[str, Any]]] = {
    **{
        form.name: {name: other.settings for name, other in DISTINCT.items() if other.name == form.name}
        for form in DISTINCT.values()
    },
    "Wav2Vec2ForCTC": CTC_FORMS | {"adapters": CTC_FORMS["stable"] | {"adapter_attn_dim": 6, "add_adapter": True}},
    # Where norms stand differs in wav2vec 2.0 above; that HuBERT and WavLM compute the same in both forms is seen by their
    # outputs (test_wav2vec2.py).
    "HubertForCTC": {"post": CTC_FORMS["post"]},
    "WavLMForCTC": {"stable": CTC_FORMS["stable"]},
    "MoonshineForConditionalGeneration": {
        "plain": SEQ2SEQ,
        "biases": SEQ2SEQ | {"attention_bias": True, "decoder_num_hidden_layers": 2},
    },
    "WhisperForConditionalGeneration": {
        "english": WINDOW | {"vocab_size": 23, "num_mel_bins": 80},
        "multilingual": WINDOW | {"vocab_size": 131, "num_mel_bins": 128, "encoder_layers": 2, "decoder_layers": 1},
    },
}
CASES = [(name, form) for name in FAMILIES for form in FORMS.get(name, {"no form": {}})]


@dataclass(frozen=True)
class Pair:
    """transformers' model, the products it computes, and our graphs of it."""

    model: nn.Module
    expected: Counter[str]
    graphs: tuple[Graph, ...]

    def differences(self, graphs: tuple[Graph, ...]) -> list[str]:
        return witness.differences(self.expected, witness.operations_of_graphs(self.model, graphs))


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    name, form = request.param
    assert name in FORMS, f"{name} is registered: give FORMS a small configuration of it"
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    model = kind(kind.config_class(**FORMS[name][form])).eval()
    tokens = {"decoder_input_ids": torch.tensor([[1, 4, 2]]), "use_cache": False}
    more = tokens if model.config.is_encoder_decoder else {}
    expected = witness.operations_of_model(model, (example(model.config),), more)
    return Pair(model, expected, build(name, model, tmp_path_factory.mktemp("checkpoint")))


def example(config: Any) -> Tensor:
    """An input: a waveform, or a spectrogram where the model takes one."""
    if config.model_type == "whisper":
        return torch.randn(1, config.num_mel_bins, 2 * config.max_source_positions)
    bands = getattr(config, "feature_projection_input_dim", 0)
    bands = config.encoder_config.num_mel_bins if hasattr(config, "encoder_config") else bands
    return torch.randn((1, 70, bands) if bands else (1, 2000))


def build(name: str, model: Any, folder: Path) -> tuple[Graph, ...]:
    """Our graphs of ``model``, from a checkpoint in ``folder``."""
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    return FAMILIES[name].build(config, load_file(folder / "model.safetensors"))


def changed(graphs: tuple[Graph, ...], old: Node, *new: Node) -> tuple[Graph, ...]:
    """``graphs`` with ``old`` left out, or another node in its place."""
    copies = []
    for graph in graphs:
        copy = Graph(graph.name, graph.weights)
        copy.nodes = [other for node in graph.nodes for other in (new if node is old else (node,))]
        copies.append(copy)
    return tuple(copies)


def quantisable(pair: Pair) -> list[Node]:
    return [node for graph in pair.graphs for node in graph.quantisable(matmuls=True)]


def test_the_products_of_the_model_are_our_operations(pair: Pair) -> None:
    found = pair.differences(pair.graphs)
    assert not found, "\n".join(found)
    assert pair.expected.total() == len(quantisable(pair))


def test_an_operation_left_out_is_named(pair: Pair) -> None:
    for node in quantisable(pair):
        found = pair.differences(changed(pair.graphs, node))
        weight = node.weights.get("weight", "")
        assert any(line.startswith(f"not an operation of ours: {node.kind} of") and weight in line for line in found)


def test_an_operation_with_the_weights_of_another_is_named(pair: Pair) -> None:
    nodes = {node.name: node for node in quantisable(pair)}
    query = next(node for name, node in nodes.items() if name.endswith(("q_proj", "linear_q")))
    key = nodes[query.name.replace("q_proj", "k_proj").replace("linear_q", "linear_k")]
    found = pair.differences(changed(pair.graphs, key, replace(key, weights=query.weights)))
    assert any("not an operation of ours: linear" in line and key.weights["weight"] in line for line in found)
    assert any("not in the model: linear" in line and query.weights["weight"] in line for line in found)


class Spellings(nn.Module):
    """Products in forms that a list of the model's modules does not show."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("matrix", "letters", "query", "key", "tied"):
            self.register_parameter(name, nn.Parameter(torch.randn(4, 4)))
        self.again = self.tied
        self.vector = nn.Parameter(torch.randn(4))
        self.bias_q, self.bias_k = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4))
        self.kernel = nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 4, 3, padding=1, bias=False))
        self.register_buffer("constant", torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        bias_q, bias_k = torch.cat((self.bias_q, self.bias_k)).chunk(2)
        q = functional.linear(x @ self.matrix, self.query, bias_q)
        k = functional.linear(torch.einsum("btc,cd->btd", x, self.letters), self.key, bias_k)
        q = torch.bmm(q, q)
        y = functional.scaled_dot_product_attention(q, k, self.kernel(x.transpose(1, 2)).transpose(1, 2))
        return (functional.linear(y, self.again) @ (self.constant @ self.constant)) @ self.vector


def test_the_witness_sees_products_however_they_are_written() -> None:
    assert witness.operations_of_model(Spellings(), (torch.randn(2, 4, 4),), {}) == Counter(
        [
            "linear of matrix",
            "linear of letters",
            "linear of bias_q, query",
            "linear of bias_k, key",
            "conv1d of kernel.weight",
            "matmul of bias_q, query and of bias_q, query",
            "matmul of bias_q, query and of bias_k, key",
            "matmul of bias_k, bias_q, key, query and of kernel.weight",
            "linear of tied",
            "linear of an input",  # by a constant: no parameter, and so an operation that no graph of ours has
            "linear of vector",
        ]
    )
