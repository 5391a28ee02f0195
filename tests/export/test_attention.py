"""Where padded keys are hidden. That they are is in test_emitters.py and test_translate.py, which compute padded batches."""

from __future__ import annotations

from collections import Counter

import onnx
import pytest
import support

from stablequant.grid.affine import QuantParams
from stablequant.quantize.scheme import LayerScheme


@pytest.mark.parametrize("name", support.MODELS)
def test_padding_is_hidden_by_the_product_where_a_sequence_attends_to_itself(name: str) -> None:
    """Then no sum of the size of the scores is written; products with int8 operands have no room for the number."""
    first, *_ = graphs = support.MODELS[name]().graphs
    in_float = support.onnx_files(name, {})
    for graph in graphs:
        masks = sum("lengths" in node.attrs.get("extras", ()) for node in graph.nodes)
        assert masked(in_float[graph.name]) == (0 if graph is first else masks)
        layer = LayerScheme((QuantParams(0.1),) * 2, None)
        scheme = {node.name: layer for node in graph.nodes if node.name.endswith(".scores")}
        assert masked(support.onnx_files(name, scheme)[graph.name]) == masks > 0


@pytest.mark.parametrize("name", support.MODELS)
def test_attention_of_a_sequence_to_itself_that_adds_nothing_is_one_operator_of_onnxruntime(name: str) -> None:
    """Whose values no longer stand by heads; with a product in int8 all is written out."""
    first, *rest = support.MODELS[name]().graphs
    plain = [node.inputs[0] for node in first.nodes if node.attrs.get("extras") == ("lengths",)]
    proto = support.onnx_files(name, {})[first.name]
    assert kinds(proto)["MultiHeadAttention"] == len(plain)
    assert kinds(proto)["Softmax"] == sum(node.kind == "attention_softmax" for node in first.nodes) - len(plain)
    read = {value for node in proto.graph.node for value in node.input} | {o.name for o in proto.graph.output}
    assert not [node.name for node in proto.graph.node if read.isdisjoint(node.output)]
    for graph in rest:
        assert not kinds(support.onnx_files(name, {})[graph.name])["MultiHeadAttention"]
    contexts = [node.name for node in first.nodes if node.name.endswith(".context")]
    in_int8 = support.onnx_files(name, dict.fromkeys(contexts, LayerScheme((QuantParams(0.1),) * 2, None)))
    assert not kinds(in_int8[first.name])["MultiHeadAttention"]


def kinds(proto: onnx.ModelProto) -> Counter[str]:
    """How many nodes of each kind a file has."""
    return Counter(node.op_type for node in proto.graph.node)


def masked(proto: onnx.ModelProto) -> int:
    """How many values have a mask of padded keys added."""
    made = {out: node for node in proto.graph.node for out in node.output}
    biases = [made[i] for node in proto.graph.node if node.op_type == "Add" for i in node.input if i in made]
    return sum(bias.op_type == "Unsqueeze" and made[bias.input[0]].op_type == "Where" for bias in biases)
