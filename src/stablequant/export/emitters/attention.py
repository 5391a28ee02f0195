"""How attention is written in ONNX: two products and the softmax between them.

Padded keys are hidden by a large negative number on their scores. To add it is to read and write the scores, attention's
largest tensor, once more. Where a sequence attends to itself the product brings it along instead: queries get a channel of
ones, keys one that holds the number. A decoder would have to copy the encoder's keys for that at every step; there it is
added.
"""

from __future__ import annotations

import numpy as np

from stablequant.export.emitters.lengths import counted, steps, valid
from stablequant.export.writer import MICROSOFT, Writer
from stablequant.grid.affine import QuantParams
from stablequant.network.graph import Node
from stablequant.network.kernels import HIDDEN


def matmul(w: Writer, node: Node) -> None:
    """The product of queries and keys, or of shares and values."""
    turn = [0, 1, 3, 2] if node.attrs["transpose"] else None
    if _brings_padding(w, node):
        q, k = node.inputs
        a, keys = _with_padding(w, q, k, node.lengths)
        b = w.op("Transpose", keys, perm=turn)
    else:
        a, b = _rounded(w, node, 0), _rounded(w, node, 1, turn)
    if node.attrs["scale"] == 1.0:
        w.op("MatMul", a, b, out=node.outputs[0])
    else:
        w.op("Mul", w.op("MatMul", a, b), w.constant(float(node.attrs["scale"])), out=node.outputs[0])


def attention_softmax(w: Writer, node: Node) -> None:
    """Softmax over the keys that may be seen."""
    scores, *rest = node.inputs
    product = next((n for n in w.graph.nodes if scores in n.outputs), None)
    extras = dict(zip(node.attrs["extras"], rest, strict=True))
    if "bias" in extras:
        scores = w.op("Add", scores, extras["bias"])
    if "lengths" in extras and not (product and _brings_padding(w, product)):
        lengths = extras["lengths"]

        def padding() -> str:
            return w.op("Unsqueeze", _hidden(w, node.inputs[0], 3, lengths), w.constant([1, 2]))

        # All layers of a stack mask alike: one bias serves them.
        scores = w.op("Add", scores, w.once(("padding", lengths), padding))
    if node.attrs["causal"]:
        scores = w.op("Add", scores, w.once(("causal",), lambda: _causal(w, node.inputs[0])))
    w.op("Softmax", scores, axis=-1, out=node.outputs[0])


def multi_head_attention(w: Writer, node: Node) -> None:
    """All of attention as one operator of ONNX Runtime: it deals channels to heads, and merges them again.

    Padding is brought along by queries and keys, which for that come dealt to heads: with a mask of its own the operator takes
    longer than the two products and the softmax.
    """
    q, k, v, *lengths = node.inputs
    if lengths:
        q, k = (_by_frame(w, x) for x in _with_padding(w, q, k, lengths[0]))
    attrs = {"num_heads": node.attrs["heads"], "scale": float(node.attrs["scale"])}
    w.op("MultiHeadAttention", q, k, v, out=node.outputs[0], domain=MICROSOFT, **attrs)


def _by_frame(w: Writer, x: str) -> str:
    """``[B, H, T, d]`` as ``[B, T, H d]``."""
    return w.op("Reshape", w.op("Transpose", x, perm=[0, 2, 1, 3]), w.constant([0, 0, -1]))


def _with_padding(w: Writer, q: str, k: str, lengths: str) -> tuple[str, str]:
    """Queries with a channel of ones, and keys with one of what padding adds to their scores."""
    channel = w.once(("padding channel", lengths), lambda: _channel(w, k, lengths))
    ones = w.op("Pad", q, w.constant([0, 0, 0, 0, 0, 0, 0, 1]), w.constant(1.0))
    return ones, w.op("Concat", k, channel, axis=3)


def _brings_padding(w: Writer, product: Node) -> bool:
    """Whether a product hides padded keys itself: those of queries and keys of one sequence, in float, that is padded."""
    masks = any(
        node.kind == "attention_softmax" and product.outputs[0] == node.inputs[0] and product.lengths in node.inputs[1:]
        for node in w.graph.nodes
    )
    return masks and product.kind == "matmul" and w.grids(product) is None


def _hidden(w: Writer, value: str, axis: int, lengths: str) -> str:
    """``[B, K]``: what is added to the scores of each key."""
    return w.op("Where", valid(w, value, axis, lengths), w.constant(0.0), w.constant(HIDDEN))


def _channel(w: Writer, keys: str, lengths: str) -> str:
    """``[B, H, K, 1]``: what padding adds to the scores, as a channel of the keys. It serves all layers of a stack."""
    column = w.op("Unsqueeze", _hidden(w, keys, 2, lengths), w.constant([1, 3]))
    return w.op("Expand", column, w.op("Concat", w.op("Shape", keys, start=0, end=3), w.constant([1]), axis=0))


def _causal(w: Writer, scores: str) -> str:
    """Bias ``[Q, K]``: the last query sees all keys, each one before it one less."""
    zero, queries, keys = w.constant(np.array(0)), steps(w, scores, 2), steps(w, scores, 3)
    last = w.op("Unsqueeze", counted(w, w.op("Sub", keys, queries), keys), w.constant([1]))
    seen = w.op("LessOrEqual", counted(w, zero, keys), last)
    return w.op("Where", seen, w.constant(0.0), w.constant(HIDDEN))


def _rounded(w: Writer, node: Node, index: int, turn: list[int] | None = None) -> str:
    """An input on its grid, if the scheme has one, and with its axes turned as ``turn`` says."""
    params, value = w.grids(node), node.inputs[index]

    def turned(value: str) -> str:
        return value if turn is None else w.op("Transpose", value, perm=turn)

    grid = params[index] if params and index < len(params) else None
    if not isinstance(grid, QuantParams):  # translate.py refuses products rounded by frame
        return turned(value)
    return w.activation(turned(value), grid) if w.target.strict else turned(w.activation(value, grid))
