"""The blocks that CTC families share, each written once: convolutions on the waveform, attention, feed-forward, positions.

A block takes the graph, its input and the path of the module whose weights it has. Weights are those that `folded` and
its kin leave: no norm of a weight, no batch norm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stablequant.network.graph import Graph

#: The two spellings of a weight-normed weight: magnitude and direction, as suffixes of the module's name.
WEIGHT_NORM = (
    (".weight_g", ".weight_v"),
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
)


def fold_weight_norm(magnitude: Tensor, direction: Tensor) -> Tensor:
    """The plain weight of a weight-normed positional convolution.

    Weight normalisation keeps ``w = g * v / |v|`` (Salimans and Kingma, arXiv:1602.07868, equation 2) so that
    training can move length and direction apart. Here each of the kernel's K taps has a length of its own
    (``dim=2`` in PyTorch).

    Args:
        magnitude: ``g`` [1, 1, K].
        direction: ``v`` [C_out, C_in / groups, K].

    Returns:
        ``w`` [C_out, C_in / groups, K].
    """
    length: Tensor = torch.linalg.vector_norm(direction, dim=(0, 1), keepdim=True)
    return direction * (magnitude / length)


def folded(weights: dict[str, Tensor], conv: str) -> dict[str, Tensor]:
    """A copy of ``weights`` with the weight norm of the convolution ``conv`` folded, however it is spelled."""
    prepared = dict(weights)
    for spelling in WEIGHT_NORM:
        magnitude, direction = (prepared.pop(f"{conv}{suffix}", None) for suffix in spelling)
        if magnitude is not None and direction is not None:
            prepared[f"{conv}.weight"] = fold_weight_norm(magnitude, direction)
    return prepared


def convolutions(
    g: Graph, name: str, x: str, lengths: str, *, strides: Sequence[int], norm: str, activation: str, bias: bool
) -> tuple[str, str]:
    """Convolutions on a waveform [B, samples]: frames [B, T, C] and how many of them are valid [B].

    Args:
        g: The graph.
        name: Of the module that has ``conv_layers``.
        x: The waveform.
        lengths: Valid samples [B].
        strides: Of each convolution.
        norm: "layer": each is normalised by frame; "group": the first by channel, over the valid frames.
        activation: Behind each.
        bias: Whether convolutions have one.
    """
    x = g.add("unsqueeze_last", x)
    for i, stride in enumerate(strides):
        layer = f"{name}.conv_layers.{i}"
        x = g.conv1d(x, f"{layer}.conv", lengths, stride=stride, bias=bias)
        lengths = g.add("conv_lengths", lengths, kernel=g.kernel_size(f"{layer}.conv"), stride=stride)
        if norm == "layer":
            x = g.layer_norm(x, f"{layer}.layer_norm")
        elif i == 0:
            x = g.group_norm(x, f"{layer}.layer_norm", lengths, groups=g.channels(f"{layer}.conv"))
        x = g.add("activation", x, function=activation)
    return x, lengths


def positions(g: Graph, x: str, frames: str, name: str, *, groups: int, stride: int = 1) -> str:
    """A positional convolution of [B, T, C] -> [B, T // stride, C]; padded frames are to be zero, as it looks both ways."""
    kernel = g.kernel_size(name)
    padding = kernel // 2
    # Half the width of padding on both sides gives a frame too many, of an even kernel or of a stride.
    trim = 2 * padding + stride - kernel
    return g.conv1d(x, name, frames, stride=stride, padding=padding, groups=groups, trim=trim)


def in_heads(g: Graph, x: str, name: str, frames: str, heads: int, *, bias: bool = True) -> str:
    """The projection ``name`` of [B, T, C], by heads [B, H, T, d]."""
    return g.add("split_heads", g.linear(x, name, frames, bias=bias), heads=heads)


def attend(g: Graph, q: str, k: str, v: str, frames: str, name: str, *, scale: float, bias: str = "") -> str:
    """Scaled dot-product attention of a sequence to itself: [B, H, T, d] each -> [B, T, H * d]; ``bias`` [.., T, T] is added."""
    extras = {"lengths": frames, "bias": bias} if bias else {"lengths": frames}
    scores = g.add("matmul", q, k, name=f"{name}.scores", lengths=frames, transpose=True, scale=scale)
    shares = g.add("attention_softmax", scores, *extras.values(), extras=tuple(extras), causal=False)
    context = g.add("matmul", shares, v, name=f"{name}.context", lengths=frames, transpose=False, scale=1.0)
    return g.add("merge_heads", context)


def self_attention(g: Graph, x: str, frames: str, name: str, settings: Mapping[str, Any], *, bias: str = "") -> str:
    """Attention of [B, T, C] to itself with its four projections; ``settings`` has its width and number of heads."""
    heads = int(settings["num_attention_heads"])
    q, k, v = (in_heads(g, x, f"{name}.{p}_proj", frames, heads) for p in "qkv")
    context = attend(g, q, k, v, frames, name, scale=(settings["hidden_size"] // heads) ** -0.5, bias=bias)
    return g.linear(context, f"{name}.out_proj", frames)


def layer(g: Graph, x: str, frames: str, name: str, settings: Mapping[str, Any], *, bias: str = "") -> str:
    """A layer of a transformer encoder with its norms behind attention and feed-forward."""
    eps = settings["layer_norm_eps"]
    x = g.add("add", x, self_attention(g, x, frames, f"{name}.attention", settings, bias=bias))
    x = g.layer_norm(x, f"{name}.layer_norm", eps)
    x = g.add("add", x, feed_forward(g, x, frames, f"{name}.feed_forward", settings["hidden_act"]))
    return g.layer_norm(x, f"{name}.final_layer_norm", eps)


def feed_forward(g: Graph, x: str, frames: str, name: str, activation: str) -> str:
    """Two projections of [B, T, C] with an activation between them."""
    x = g.linear(x, f"{name}.intermediate_dense", frames)
    x = g.activation(x, activation, f"{name}.intermediate_act_fn")
    return g.linear(x, f"{name}.output_dense", frames)


def gated(g: Graph, x: str) -> str:
    """A gated linear unit: the first half of the channels times the sigmoid of the second."""
    value, gate = g.add_many("chunk", x, count=2)
    return g.add("mul", value, g.add("activation", gate, function="sigmoid"))


def adapter(g: Graph, x: str, frames: str, name: str, settings: Mapping[str, Any]) -> tuple[str, str]:
    """Strided convolutions with gates on top of an encoder: fewer frames, and how many of them are valid.

    Args:
        g: The graph.
        x: [B, T, C].
        frames: Valid frames [B].
        name: Of the module.
        settings: ``num_adapter_layers``, ``adapter_stride``, ``hidden_size`` and, if it is another, ``output_hidden_size``.
    """
    if settings.get("output_hidden_size") not in (None, settings["hidden_size"]):
        x = g.layer_norm(g.linear(x, f"{name}.proj", frames), f"{name}.proj_layer_norm")
    for i in range(settings["num_adapter_layers"]):
        conv, stride = f"{name}.layers.{i}.conv", settings["adapter_stride"]
        x = gated(g, g.conv1d(g.add("mask", x, frames), conv, frames, stride=stride, padding=1))
        frames = g.add("conv_lengths", frames, kernel=g.kernel_size(conv), stride=stride, padding=1)
    return x, frames
