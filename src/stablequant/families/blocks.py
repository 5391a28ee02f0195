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


def positions(g: Graph, x: str, frames: str, name: str, *, groups: int) -> str:
    """A positional convolution of [B, T, C], as long as its input; padded frames are to be zero, as it looks both ways."""
    kernel = g.kernel_size(name)
    # An even kernel with half its width of padding on both sides gives one frame too many.
    return g.conv1d(x, name, frames, padding=kernel // 2, groups=groups, trim=1 - kernel % 2)


def in_heads(g: Graph, x: str, name: str, frames: str, heads: int) -> str:
    """The projection ``name`` of [B, T, C], by heads [B, H, T, d]."""
    return g.add("split_heads", g.linear(x, name, frames), heads=heads)


def attend(g: Graph, q: str, k: str, v: str, frames: str, name: str, *, scale: float, bias: str = "") -> str:
    """Scaled dot-product attention of a sequence to itself: [B, H, T, d] each -> [B, T, H * d]; ``bias`` [.., T, T] is added."""
    extras = {"lengths": frames, "bias": bias} if bias else {"lengths": frames}
    scores = g.add("matmul", q, k, name=f"{name}.scores", lengths=frames, transpose=True, scale=scale)
    shares = g.add("attention_softmax", scores, *extras.values(), extras=tuple(extras), causal=False)
    context = g.add("matmul", shares, v, name=f"{name}.context", lengths=frames, transpose=False, scale=1.0)
    return g.add("merge_heads", context)


def feed_forward(g: Graph, x: str, frames: str, name: str, activation: str) -> str:
    """Two projections of [B, T, C] with an activation between them."""
    x = g.linear(x, f"{name}.intermediate_dense", frames)
    x = g.add("activation", x, function=activation)
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
