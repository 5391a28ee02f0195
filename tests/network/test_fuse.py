"""Fused attention is the same attention."""

from __future__ import annotations

from collections import Counter

import pytest
import support
import torch

from stablequant.network.execute import Executor
from stablequant.network.fuse import fuse_attention
from stablequant.network.graph import Graph


def kinds(graph: Graph) -> Counter[str]:
    return Counter(node.kind for node in graph.nodes)


@pytest.mark.parametrize("name", support.MODELS)
def test_a_padded_batch_gives_the_same_outputs(name: str) -> None:
    model = support.MODELS[name]()
    values = support.feeds(model, support.waveforms())
    for graph in model.graphs:
        if graph.name == "decoder":
            ids = torch.tensor([[1, 40, 500, 9, 8]]).repeat(len(support.SHORT), 1)
            fed = {spec.name for spec in graph.inputs}
            values = {k: v for k, v in values.items() if k in fed} | {"input_ids": ids}
            values |= support.empty_past(model, len(ids))
        plain = Executor(graph).run(values)
        fused = Executor(fuse_attention(graph)).run(values)
        frames = plain["frames" if name == "graft" else "encoder_lengths"].tolist() if graph.name != "decoder" else None
        for output in graph.outputs:
            if output in ("frames", "encoder_lengths"):
                assert torch.equal(plain[output], fused[output])
                continue
            for row, (a, b) in enumerate(zip(fused[output], plain[output], strict=True)):
                valid = slice(None if frames is None else frames[row])  # what stands in padded steps is never read
                assert support.relative_difference(a[..., valid, :], b[..., valid, :]) < 1e-4
        values = plain


@pytest.mark.parametrize("name", support.MODELS)
def test_every_attention_is_fused_and_nothing_else_touched(name: str) -> None:
    for graph in support.MODELS[name]().graphs:
        before, fused = kinds(graph), fuse_attention(graph)
        after = kinds(fused)
        assert before["attention_softmax"] > 0
        assert after["attention"] == before["attention_softmax"]
        assert after["attention_softmax"] == after["matmul"] == 0
        left = before - Counter(matmul=before["matmul"], attention_softmax=before["attention_softmax"])
        assert after - Counter(attention=after["attention"]) == left
        assert [n.name for n in fused.quantisable()] == [n.name for n in graph.quantisable()]
        assert fused.outputs == graph.outputs


def test_scores_that_something_else_reads_stay() -> None:
    graph = Graph("two readers", {})
    q, k, v = (graph.input(n, "float32", ("b", 2, "t", 4)) for n in "qkv")
    scores = graph.add("matmul", q, k, name="scores", transpose=True, scale=0.5)
    shares = graph.add("attention_softmax", scores, extras=(), causal=False)
    context = graph.add("matmul", shares, v, name="context", transpose=False, scale=1.0)
    graph.output(context, "out", ("b", 2, "t", 4))
    graph.output(scores, "seen", ("b", 2, "t", "t"))
    assert kinds(fuse_attention(graph)) == kinds(graph)
