"""Where padded keys are hidden. That they are is in test_emitters.py and test_translate.py, which compute padded batches."""

from __future__ import annotations

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


def masked(proto: onnx.ModelProto) -> int:
    """How many values have a mask of padded keys added."""
    made = {out: node for node in proto.graph.node for out in node.output}
    biases = [made[i] for node in proto.graph.node if node.op_type == "Add" for i in node.input if i in made]
    return sum(bias.op_type == "Unsqueeze" and made[bias.input[0]].op_type == "Where" for bias in biases)
