"""What each kind of node computes, in PyTorch and float32.

A kernel takes the node, its input tensors and its weights by role, and returns its outputs as a tuple. Shapes are those
of ``graph``: sequences ``[B, T, C]``, attention ``[B, H, T, d]``, lengths ``[B]`` int64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from stablequant.network.activations import activate
from stablequant.network.graph import Node

Kernel = Callable[[Node, Sequence[Tensor], Mapping[str, Tensor]], tuple[Tensor, ...]]

KERNELS: dict[str, Kernel] = {}
#: Added to the score of a key that may not be seen; large enough to vanish in the softmax, small enough to stay finite.
HIDDEN = -1e9


def kernel(*kinds: str) -> Callable[[Callable[..., Tensor | tuple[Tensor, ...]]], Kernel]:
    """Register a function of ``(node, weights, *inputs)`` as the kernel of ``kinds``."""

    def register(function: Callable[..., Tensor | tuple[Tensor, ...]]) -> Kernel:
        @functools.wraps(function)  # under its own name a kernel can be pickled, as part of what worker processes get
        def call(node: Node, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
            result = function(node, weights, *inputs)
            return result if isinstance(result, tuple) else (result,)

        KERNELS.update(dict.fromkeys(kinds, call))
        return call

    return register


def valid_steps(steps: int, lengths: Tensor) -> Tensor:
    """Boolean ``[B, steps]``: true where a time step lies within its utterance."""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


@kernel("identity")
def _identity(node: Node, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return x


@kernel("unsqueeze_last")
def _unsqueeze_last(node: Node, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return x.unsqueeze(-1)


@kernel("linear", "rotate")
def _linear(node: Node, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return functional.linear(x, weights["weight"], weights.get("bias"))


@kernel("conv1d")
def _conv1d(node: Node, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    a = node.attrs
    if x.dim() == 4:  # [B, T', kernel, C]: the windows themselves, where each is rounded by itself
        rows = weights["weight"].transpose(1, 2).flatten(1)
        return functional.linear(x.flatten(2), rows, weights.get("bias"))
    y = functional.conv1d(
        x.transpose(1, 2), weights["weight"], weights.get("bias"), a["stride"], a["padding"], 1, a["groups"]
    )
    steps = (x.shape[1] + 2 * a["padding"] - a["trim"] - a["kernel"]) // a["stride"] + 1
    return y[:, :, :steps].transpose(1, 2)


@kernel("conv2d")
def _conv2d(node: Node, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    a = node.attrs
    y = functional.conv2d(
        x.permute(0, 3, 1, 2), weights["weight"], weights["bias"], a["stride"], a["padding"], 1, a["groups"]
    )
    return y.permute(0, 2, 3, 1)


@kernel("conv_lengths")
def _conv_lengths(node: Node, weights: Mapping[str, Tensor], lengths: Tensor) -> Tensor:
    a = node.attrs
    steps = torch.div(lengths + 2 * a.get("padding", 0) - a["kernel"], a["stride"], rounding_mode="floor") + 1
    return steps.clamp(min=0)


@kernel("average_pool")
def _average_pool(node: Node, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Mean of every ``factor`` steps; a rest at the end is dropped."""
    return functional.avg_pool1d(x.transpose(1, 2), node.attrs["factor"]).transpose(1, 2)


@kernel("upsample")
def _upsample(node: Node, weights: Mapping[str, Tensor], x: Tensor, lengths: Tensor, like: Tensor) -> Tensor:
    """Channels of a step as ``factor`` steps of ``channels``, as many as ``like`` has; 0 beyond those of valid steps."""
    y = x.reshape(len(x), -1, node.attrs["channels"])
    y = functional.pad(y, (0, 0, 0, like.shape[1] - y.shape[1]))
    return y * valid_steps(y.shape[1], lengths * node.attrs["factor"])[:, :, None]


@kernel("mask")
def _mask(node: Node, weights: Mapping[str, Tensor], x: Tensor, lengths: Tensor) -> Tensor:
    """Zero beyond each utterance's steps, of ``[B, T, C]`` or ``[B, .., T, C]``."""
    within = valid_steps(x.shape[-2], lengths)
    return x * within.reshape(len(x), *(1,) * (x.dim() - 3), -1, 1)


@kernel("layer_norm")
def _layer_norm(node: Node, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], weights.get("weight"), weights.get("bias"), node.attrs["eps"])


@kernel("group_norm")
def _group_norm(node: Node, weights: Mapping[str, Tensor], x: Tensor, lengths: Tensor) -> Tensor:
    """Statistics over the valid steps of each utterance; what padding becomes does not matter, it is never read."""
    batch, _, channels = x.shape
    groups = node.attrs["groups"]
    scale, shift = x.new_empty(batch, channels), x.new_empty(batch, channels)
    for row, steps in enumerate(lengths.tolist()):
        valid = x[row, :steps].reshape(steps, groups, channels // groups)
        variance, mean = torch.var_mean(valid, (0, 2), correction=0)
        scale[row] = torch.rsqrt(variance + node.attrs["eps"]).repeat_interleave(channels // groups)
        shift[row] = mean.repeat_interleave(channels // groups)
    scale *= weights["weight"]
    shift = weights["bias"] - shift * scale
    return torch.addcmul(shift[:, None], x, scale[:, None])


@kernel("activation")
def _activation(node: Node, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return activate(node.attrs["function"], x, weights)


@kernel("add")
def _add(node: Node, weights: Mapping[str, Tensor], a: Tensor, b: Tensor) -> Tensor:
    return a + b


@kernel("mul")
def _mul(node: Node, weights: Mapping[str, Tensor], a: Tensor, b: Tensor) -> Tensor:
    return a * b


@kernel("chunk")
def _chunk(node: Node, weights: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, ...]:
    return x.chunk(len(node.outputs), dim=-1)


@kernel("split_heads")
def _split_heads(node: Node, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return x.reshape(*x.shape[:-1], node.attrs["heads"], -1).transpose(1, 2)


@kernel("merge_heads")
def _merge_heads(node: Node, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


@kernel("matmul")
def _matmul(node: Node, weights: Mapping[str, Tensor], a: Tensor, b: Tensor) -> Tensor:
    product = a @ (b.transpose(-1, -2) if node.attrs["transpose"] else b)
    scale = node.attrs["scale"]
    return product if scale == 1.0 else product * scale


@kernel("attention_softmax")
def _attention_softmax(node: Node, weights: Mapping[str, Tensor], scores: Tensor, *extras: Tensor) -> Tensor:
    """Inputs: scores ``[B, H, Q, K]``, then as ``attrs["extras"]`` names them: key lengths ``[B]``, a bias to add."""
    bias = _attention_bias(node, scores.shape[-2], scores.shape[-1], extras, scores.device)
    return (scores if bias is None else scores + bias).softmax(-1)


@kernel("attention")
def _attention(node: Node, weights: Mapping[str, Tensor], q: Tensor, k: Tensor, v: Tensor, *extras: Tensor) -> Tensor:
    """Both products and the softmax between them, without writing the scores down (see network/fuse.py)."""
    bias = _attention_bias(node, q.shape[-2], k.shape[-2], extras, q.device)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=node.attrs["scale"])


def _attention_bias(
    node: Node, queries: int, keys: int, extras: Sequence[Tensor], device: torch.device
) -> Tensor | None:
    """What is added to the scores: relative positions, and ``HIDDEN`` where a key may not be seen."""
    named = dict(zip(node.attrs["extras"], extras, strict=True))
    bias: Tensor | None = named.get("bias")
    if "lengths" in named and bool((named["lengths"] < keys).any()):
        hidden = ~valid_steps(keys, named["lengths"])
        padding = hidden[:, None, None, :] * HIDDEN
        bias = padding if bias is None else bias + padding
    if node.attrs["causal"] and queries > 1:
        # The last query sees all keys, each one before it one less.
        future = torch.full((queries, keys), HIDDEN, device=device).triu(keys - queries + 1)
        bias = future if bias is None else bias + future
    return bias


@kernel("rotary_tables")
def _rotary_tables(node: Node, weights: Mapping[str, Tensor], like: Tensor, *past: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines ``[T, d]`` of the positions of ``like`` ``[B, T, ...]``, which come after those in ``past``."""
    offset = past[0].shape[2] if past else 0
    frequencies = weights["frequencies"]
    positions = torch.arange(offset, offset + like.shape[1], device=frequencies.device, dtype=torch.float32)
    angles = positions[:, None] * frequencies
    return angles.cos(), angles.sin()


@kernel("positions")
def _positions(node: Node, weights: Mapping[str, Tensor], like: Tensor, *past: Tensor) -> Tensor:
    """Rows ``[T, C]`` of a table, one a position of ``like`` ``[B, T, ...]`` behind those in ``past``; its ``last`` the ends."""
    offset, table, last = past[0].shape[2] if past else 0, weights["table"], node.attrs.get("last", 0)
    return torch.cat((table[offset : offset + like.shape[1] - last], table[len(table) - last :]))


@kernel("rotary")
def _rotary(node: Node, weights: Mapping[str, Tensor], x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return x * cos + (x @ weights["rotation"]) * sin


@kernel("embedding")
def _embedding(node: Node, weights: Mapping[str, Tensor], ids: Tensor) -> Tensor:
    return functional.embedding(ids, weights["weight"])


@kernel("append_steps")
def _append_steps(node: Node, weights: Mapping[str, Tensor], past: Tensor, new: Tensor) -> Tensor:
    return torch.cat((past, new), dim=2)


@kernel("relative_bias")
def _relative_bias(node: Node, weights: Mapping[str, Tensor], like: Tensor) -> Tensor:
    """Bias ``[H, T, T]`` by distance from a table ``[2 * reach + 1, H]``; distances beyond ``reach`` share its ends."""
    reach = node.attrs["reach"]
    steps = torch.arange(like.shape[1], device=like.device)
    distance = (steps[None, :] - steps[:, None]).clamp(-reach, reach) + reach
    return weights["table"][distance].permute(2, 0, 1)


@kernel("relative_sinusoids")
def _relative_sinusoids(node: Node, weights: Mapping[str, Tensor], like: Tensor) -> Tensor:
    """Sines and cosines in turn ``[1, 2 T - 1, C]`` of the distances T - 1 ... 1 - T, of ``like`` ``[B, T, ...]``."""
    frequencies, steps = weights["frequencies"], like.shape[1]
    distances = torch.arange(steps - 1, -steps, -1, device=frequencies.device).float()
    angles = distances[:, None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)[None]


@kernel("relative_shift")
def _relative_shift(node: Node, weights: Mapping[str, Tensor], scores: Tensor) -> Tensor:
    """From scores ``[B, H, T, 2 T - 1]`` by distance to those by key ``[B, H, T, T]``: row i begins T - 1 - i further on.

    With a column put before it and the rows laid end to end, each row begins where it should (Dai et al. 2019, appendix B).
    """
    batch, heads, steps, distances = scores.shape
    laid = functional.pad(scores, (1, 0)).reshape(batch, heads, distances + 1, steps)[:, :, 1:]
    return laid.reshape(batch, heads, steps, distances)[..., :steps]


@kernel("by_distance")
def _by_distance(node: Node, weights: Mapping[str, Tensor], scores: Tensor) -> Tensor:
    """From scores ``[B, H, T, back + 1 + ahead]`` of each distance to those of each key ``[B, H, T, T]``."""
    back, ahead = node.attrs["back"], node.attrs["ahead"]
    steps = torch.arange(scores.shape[2], device=scores.device)
    distance = (steps[None, :] - steps[:, None]).clamp(-back, ahead) + back
    return scores.gather(3, distance.expand(*scores.shape[:2], -1, -1))


@kernel("offset")
def _offset(node: Node, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return x + weights["offset"]


@kernel("relative_gate")
def _relative_gate(node: Node, weights: Mapping[str, Tensor], projected: Tensor) -> Tensor:
    """WavLM's gate ``[B, H, T, 1]`` on the relative bias, from two logits a head and step."""
    a, b = projected.sigmoid().chunk(2, dim=-1)
    return a * (b * weights["constant"] - 1.0) + 2.0
