"""Attention as one operation, where nothing needs to look inside it.

Scores of a long utterance are by far its largest tensor. PyTorch's fused kernel never writes them down; it serves
whenever attention's two products stay in float.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from copy import copy

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


def fuse_heads(graph: Graph, apart: Collection[str]) -> Graph:
    """``graph`` with one node of kind "multi_head_attention" wherever attention hides nothing, or nothing but its own padding.

    It has queries, and where they are as long keys and values, ahead of their division into heads ``[B, T, C]``, and gives values
    merged again. Where a sequence that attends to itself is padded, queries and keys are divided ``[B, H, T, d]``, and the valid
    steps ``[B]`` follow. Chains with one of the products ``apart`` stay as they are, those that hide later steps too.
    """
    fused = fuse_attention(graph)
    whole = {node.name: node for node in fused.nodes if node.kind == "attention" and not node.attrs["causal"]}
    by_output = {name: node for node in graph.nodes for name in node.outputs}
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    nodes: dict[str, Node] = {}
    dropped: set[str] = set()
    for merge in (node for node in graph.nodes if node.kind == "merge_heads"):
        context = by_output.get(merge.inputs[0], merge)
        if context.name not in whole or uses[context.outputs[0]] != 1:
            continue
        softmax = by_output[context.inputs[0]]
        scores = by_output[softmax.inputs[0]]
        values = (*scores.inputs, context.inputs[1])
        split = [by_output[v] for v in values if v in by_output and by_output[v].kind == "split_heads" and uses[v] == 1]
        padding = softmax.inputs[1:]
        if {scores.name, context.name} & set(apart):
            continue
        if softmax.attrs["extras"] == ("lengths",) and padding == (scores.lengths,):
            split = [
                node for node in split if node.outputs[0] == values[2]
            ]  # the rest is divided before padding is added
            if len(split) != 1:
                continue
        elif padding or len(split) not in (1, 3) or values[0] not in split[0].outputs:
            continue
        parts = [node.outputs[0] for node in split]
        inputs = (*(by_output[v].inputs[0] if v in parts else v for v in values), *padding)
        attrs = {"heads": split[0].attrs["heads"], "scale": scores.attrs["scale"]}
        nodes[merge.name] = Node("multi_head_attention", context.name, inputs, merge.outputs, attrs)
        dropped |= {context.name, softmax.name, scores.name, *(node.name for node in split)}
    result = copy(graph)
    result.nodes = [nodes.get(node.name, node) for node in graph.nodes if node.name not in dropped]
    return result
