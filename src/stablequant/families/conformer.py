"""The conformer's layer (Gulati et al. 2020, arXiv 2005.08100), which several families stack: one description of it.

Between two halves of a feed-forward stand attention and a gated convolution in depth. What is fixed when a model runs is
folded into weights when it is loaded: batch norms and the factor one half without a rest, kernels of one step into plain
matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stablequant.families import blocks
from stablequant.network.graph import Graph

#: Prefix of constants that no checkpoint holds.
OWN = "conformer"
ROLES = ("weight", "bias")


@dataclass(frozen=True)
class Names:
    """What a family calls the parts of a layer."""

    feed_forward: tuple[tuple[str, str], tuple[str, str]] = (("ffn1_layer_norm", "ffn1"), ("ffn2_layer_norm", "ffn2"))
    dense: tuple[str, str] = ("intermediate_dense", "output_dense")
    attention: tuple[str, str] = ("self_attn_layer_norm", "self_attn")
    projections: tuple[str, str, str, str] = ("linear_q", "linear_k", "linear_v", "linear_out")
    positions: tuple[str, str, str] = ("linear_pos", "pos_bias_u", "pos_bias_v")
    convolution: tuple[str, str] = ("conv_module.layer_norm", "conv_module")
    depth_norm: str = "batch_norm"
    last: str = "final_layer_norm"


@dataclass(frozen=True)
class Conformer:
    """How a family's layers are made.

    Attributes:
        width: Channels.
        heads: Of the attention.
        activation: Of feed-forward and convolution.
        positions: "relative" (Dai et al. 2019, arXiv 1901.02860, section 3.3), "rotary", "relative_key": a row of a table
            for each distance, or "": none.
        names: Of the parts.
        eps: Of the norms.
        bias: Whether feed-forward and attention have biases.
        convolution_bias: Whether the convolutions of one step have.
        batch_norm: Whether a batch norm follows the convolution in depth, which is folded into it; else a norm by frame does.
        causal: Whether that convolution looks back alone.
        reach: Furthest distance back and ahead that "relative_key" tells from others.
    """

    width: int
    heads: int
    activation: str
    positions: Literal["relative", "rotary", "relative_key", ""]
    names: Names = Names()
    eps: float = 1e-5
    bias: bool = True
    convolution_bias: bool = False
    batch_norm: bool = True
    causal: bool = False
    reach: tuple[int, int] = (0, 0)

    @property
    def scale(self) -> float:
        """Of attention's scores."""
        return float((self.width // self.heads) ** -0.5)

    def prepared(self, weights: dict[str, Tensor], layers: list[str]) -> dict[str, Tensor]:
        """A copy of ``weights`` as `layer` computes with them; what is missing is left out."""
        found = dict(weights)
        for layer in layers:
            for key in [f"{layer}.{ff}.{self.names.dense[1]}.{r}" for _, ff in self.names.feed_forward for r in ROLES]:
                _change(found, key, lambda w: 0.5 * w)
            for name in ("pointwise_conv1", "pointwise_conv2"):
                _change(found, f"{layer}.{self.names.convolution[1]}.{name}.weight", lambda w: w.squeeze(2))
            attention = f"{layer}.{self.names.attention[1]}"
            for name in self.names.positions[1:]:
                _change(found, f"{attention}.{name}", lambda w: w[:, None])
            _change(found, f"{attention}.distance_embedding.weight", lambda w: self.scale * w)
            if self.batch_norm:
                conv = f"{layer}.{self.names.convolution[1]}"
                fold_batch_norm(found, f"{conv}.depthwise_conv", f"{conv}.{self.names.depth_norm}")
        if self.positions == "rotary":
            half, size = self.width // self.heads // 2, self.width // self.heads
            found[f"{OWN}.rotation"] = torch.zeros(size, size)
            found[f"{OWN}.rotation"][range(half, size), range(half)] = -1.0
            found[f"{OWN}.rotation"][range(half), range(half, size)] = 1.0
        return found

    def places(self, g: Graph, x: str) -> tuple[str, ...]:
        """What the attention of all layers needs of positions: sinusoids, or cosines and sines; nothing otherwise.

        Frequencies are those of the weight "conformer.frequencies".
        """
        frequencies = {"frequencies": f"{OWN}.frequencies"}
        if self.positions == "relative":
            return (g.add("relative_sinusoids", x, weights=frequencies),)
        return g.add_many("rotary_tables", x, count=2, weights=frequencies) if self.positions == "rotary" else ()

    def layer(self, g: Graph, x: str, frames: str, layer: str, places: tuple[str, ...]) -> str:
        """One layer, [B, T, C] -> [B, T, C]; ``places`` as `places` gives them."""
        first, second = self.names.feed_forward
        x = g.add("add", x, self._feed_forward(g, x, frames, layer, *first))
        x = g.add("add", x, self._attention(g, x, frames, layer, places))
        x = g.add("add", x, self._convolution(g, x, frames, layer))
        x = g.add("add", x, self._feed_forward(g, x, frames, layer, *second))
        return g.layer_norm(x, f"{layer}.{self.names.last}", self.eps)

    def _feed_forward(self, g: Graph, x: str, frames: str, layer: str, norm: str, name: str) -> str:
        up, down = self.names.dense
        x = g.linear(g.layer_norm(x, f"{layer}.{norm}", self.eps), f"{layer}.{name}.{up}", frames, bias=self.bias)
        x = g.add("activation", x, function=self.activation)
        return g.linear(x, f"{layer}.{name}.{down}", frames, bias=self.bias)

    def _attention(self, g: Graph, x: str, frames: str, layer: str, places: tuple[str, ...]) -> str:
        norm, name = (f"{layer}.{part}" for part in self.names.attention)
        *projections, out = (f"{name}.{part}" for part in self.names.projections)
        x = g.layer_norm(x, norm, self.eps)
        turned = x
        if self.positions == "rotary":
            split = g.add("split_heads", x, heads=self.heads)
            turned = g.add("merge_heads", g.add("rotary", split, *places, weights={"rotation": f"{OWN}.rotation"}))
        q, k, v = (
            blocks.in_heads(g, y, p, frames, self.heads, bias=self.bias)
            for y, p in zip((turned, turned, x), projections, strict=True)
        )
        bias = ""
        if self.positions == "relative":
            q, bias = self._relative(g, q, frames, name, *places)
        elif self.positions == "relative_key":
            scores = g.linear(q, f"{name}.distance_embedding", frames, bias=False)
            bias = g.add("by_distance", scores, lengths=frames, back=self.reach[0], ahead=self.reach[1])
        context = blocks.attend(g, q, k, v, frames, name, scale=self.scale, bias=bias)
        return g.linear(context, out, frames, bias=self.bias)

    def _relative(self, g: Graph, q: str, frames: str, name: str, sinusoids: str) -> tuple[str, str]:
        """Queries with the bias towards content, and scores by distance [B, H, T, T], which have one of their own."""
        projection, content, place = (f"{name}.{part}" for part in self.names.positions)
        keys = blocks.in_heads(g, sinusoids, projection, "", self.heads, bias=False)
        towards = g.add("offset", q, weights={"offset": place})
        scores = g.add("matmul", towards, keys, name=f"{name}.places", lengths=frames, transpose=True, scale=self.scale)
        return g.add("offset", q, weights={"offset": content}), g.add("relative_shift", scores)

    def _convolution(self, g: Graph, x: str, frames: str, layer: str) -> str:
        norm, name = (f"{layer}.{part}" for part in self.names.convolution)
        x = g.linear(g.layer_norm(x, norm, self.eps), f"{name}.pointwise_conv1", frames, bias=self.convolution_bias)
        x = blocks.gated(g, x)
        conv = f"{name}.depthwise_conv"
        kernel = g.kernel_size(conv)
        padding, trim = (kernel - 1, kernel - 1) if self.causal else (kernel // 2, 0)
        if not self.causal:  # it looks ahead, into padding
            x = g.add("mask", x, frames)
        x = g.conv1d(x, conv, frames, padding=padding, trim=trim, groups=self.width, bias=self.batch_norm)
        if not self.batch_norm:
            x = g.layer_norm(x, f"{name}.{self.names.depth_norm}", self.eps)
        x = g.add("activation", x, function=self.activation)
        return g.linear(x, f"{name}.pointwise_conv2", frames, bias=self.convolution_bias)


def fold_batch_norm(weights: dict[str, Tensor], conv: str, norm: str, eps: float = 1e-5) -> None:
    """Put a batch norm into the convolution before it, in place; with statistics that are fixed it is one factor a channel.

    ``w' = w * s`` and ``b' = (b - mean) * s + beta``, where ``s = gamma / sqrt(variance + eps)`` (Ioffe and Szegedy,
    arXiv 1502.03167, section 3.1). Nothing is done where a part is missing.
    """
    parts = [weights.get(f"{norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
    weight = weights.get(f"{conv}.weight")
    gamma, beta, mean, variance = parts
    if weight is None or gamma is None or beta is None or mean is None or variance is None:
        return
    factor = gamma / (variance + eps).sqrt()
    weights[f"{conv}.weight"] = weight * factor.reshape(-1, *(1,) * (weight.dim() - 1))
    weights[f"{conv}.bias"] = (weights.get(f"{conv}.bias", 0.0) - mean) * factor + beta


def _change(weights: dict[str, Tensor], key: str, change: Callable[[Tensor], Tensor]) -> None:
    if key in weights:
        weights[key] = change(weights[key])
