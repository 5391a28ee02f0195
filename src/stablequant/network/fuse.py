"""Attention as one operation, where nothing needs to look inside it.

Scores of a long utterance are by far its largest tensor. PyTorch's fused kernel never writes them down; it serves
whenever attention's two products stay in float.
"""

from __future__ import annotations

from collections import Counter

from stablequant.network.graph import Graph, Node


def fuse_attention(graph: Graph) -> Graph:
    """``graph`` with each product - softmax - product chain replaced by one node of kind "attention"."""
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    by_output = {name: node for node in graph.nodes for name in node.outputs}
    fused: dict[str, Node] = {}
    dropped: set[str] = set()
    for context in graph.nodes:
        softmax = by_output.get(context.inputs[0]) if context.kind == "matmul" else None
        if softmax is None or softmax.kind != "attention_softmax":
            continue
        scores = by_output[softmax.inputs[0]]
        if uses[softmax.outputs[0]] == uses[scores.outputs[0]] == 1:
            extras = softmax.inputs[1:]
            attrs = {**softmax.attrs, "scale": scores.attrs["scale"]}
            inputs = (*scores.inputs, context.inputs[1], *extras)
            fused[context.name] = Node("attention", context.name, inputs, context.outputs, attrs)
            dropped |= {softmax.name, scores.name}
    result = Graph(graph.name, graph.weights)
    result.inputs, result.outputs = graph.inputs, graph.outputs
    result.nodes = [fused.get(node.name, node) for node in graph.nodes if node.name not in dropped]
    return result
