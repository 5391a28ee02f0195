"""The conformer's layer (Gulati et al. 2020, arXiv 2005.08100), which several families stack: one description of it.

Between two halves of a feed-forward stand attention and a gated convolution in depth. What is fixed when a model runs is
folded into weights when it is loaded, without a rest: batch norms, the factors of what is added, kernels of one step as
plain matrices.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
        positions: "relative" (Dai et al. 2019, arXiv 1901.02860, section 3.3), "rotary": of what queries and keys are
            projected from, "rotary_heads": of queries and keys themselves (Su et al. 2021, arXiv 2104.09864, section 3.2),
            "relative_key": a row of a table for each distance, or "": none.
        names: Of the parts.
        eps: Of the norms.
        norm_bias: Whether the norms have biases.
        bias: Whether feed-forward and attention have biases.
        convolution_bias: Whether the convolutions of one step have.
        batch_norm: Whether a batch norm follows the convolution in depth, which is folded into it; else a norm by frame does.
        causal: Whether that convolution looks back alone.
        reach: Furthest distance back and ahead that "relative_key" tells from others.
        feed_forward_residual: What a feed-forward's input and output are multiplied with before they are added.
        convolution_residual: The same of the convolution.
    """

    width: int
    heads: int
    activation: str
    positions: Literal["relative", "rotary", "rotary_heads", "relative_key", ""]
    names: Names = Names()
    eps: float = 1e-5
    norm_bias: bool = True
    bias: bool = True
    convolution_bias: bool = False
    batch_norm: bool = True
    causal: bool = False
    reach: tuple[int, int] = (0, 0)
    feed_forward_residual: tuple[float, float] = (1.0, 0.5)
    convolution_residual: tuple[float, float] = (1.0, 1.0)

    @property
    def scale(self) -> float:
        """Of attention's scores."""
        return float((self.width // self.heads) ** -0.5)

    @property
    def divisors(self) -> tuple[float, float, float, float]:
        """What the residual is divided by behind each of a layer's four blocks, so that blocks are added to it as they are.

        Of ``y = x / d`` a block that makes ``a x + b f(norm(x))`` has to make ``y + b / (d a) f(norm(d y))``, which is its
        result divided by ``d a``. The factor is part of its last weights; a norm of ``d y`` with ``eps`` is one of ``y`` with
        ``eps / d^2``.
        """
        feed_forward, convolution = self.feed_forward_residual[0], self.convolution_residual[0]
        behind = feed_forward * convolution
        return feed_forward, feed_forward, behind, behind * feed_forward

    def prepared(self, weights: dict[str, Tensor], layers: list[str]) -> dict[str, Tensor]:
        """A copy of ``weights`` as `layer` computes with them; what is missing is left out."""
        found = dict(weights)
        for layer in layers:
            for name in ("pointwise_conv1", "pointwise_conv2"):
                _change(found, f"{layer}.{self.names.convolution[1]}.{name}.weight", lambda w: w.squeeze(2))
            for name, factor in self._factors(layer).items():
                for key in (f"{name}.{role}" for role in ROLES if factor != 1.0):
                    _change(found, key, partial(operator.mul, factor))
            _change(found, f"{layer}.{self.names.convolution[1]}.depthwise_conv.weight", _odd)
            attention = f"{layer}.{self.names.attention[1]}"
            for name in self.names.positions[1:]:
                _change(found, f"{attention}.{name}", lambda w: w[:, None])
            _change(found, f"{attention}.distance_embedding.weight", lambda w: self.scale * w)
            if self.batch_norm:
                conv = f"{layer}.{self.names.convolution[1]}"
                fold_batch_norm(found, f"{conv}.depthwise_conv", f"{conv}.{self.names.depth_norm}")
        if self.positions in ("rotary", "rotary_heads"):
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
        if self.positions in ("rotary", "rotary_heads"):
            return g.add_many("rotary_tables", x, count=2, weights=frequencies)
        return ()

    def layer(self, g: Graph, x: str, frames: str, layer: str, places: tuple[str, ...]) -> str:
        """One layer, [B, T, C] -> [B, T, C]; ``places`` as `places` gives them."""
        (norm, first), (other, second) = self.names.feed_forward
        x = g.add("add", x, self._feed_forward(g, self._norm(g, x, f"{layer}.{norm}", 0), frames, f"{layer}.{first}"))
        h = self._norm(g, x, f"{layer}.{self.names.attention[0]}", 1)
        x = g.add("add", x, self._attention(g, h, frames, f"{layer}.{self.names.attention[1]}", places))
        h = self._norm(g, x, f"{layer}.{self.names.convolution[0]}", 2)
        x = g.add("add", x, self._convolution(g, h, frames, f"{layer}.{self.names.convolution[1]}"))
        x = g.add("add", x, self._feed_forward(g, self._norm(g, x, f"{layer}.{other}", 3), frames, f"{layer}.{second}"))
        return self._norm(g, x, f"{layer}.{self.names.last}", 4)

    def _factors(self, layer: str) -> dict[str, float]:
        """The last linear layer of each block, and what it is multiplied with."""
        (_, first), (_, second) = self.names.feed_forward
        attention, convolution, down = self.names.attention[1], self.names.convolution[1], self.names.dense[1]
        out = self.names.projections[3]
        ends = (f"{first}.{down}", f"{attention}.{out}", f"{convolution}.pointwise_conv2", f"{second}.{down}")
        added = (self.feed_forward_residual[1], 1.0, self.convolution_residual[1], self.feed_forward_residual[1])
        return {f"{layer}.{end}": b / d for end, b, d in zip(ends, added, self.divisors, strict=True)}

    def _norm(self, g: Graph, x: str, name: str, behind: int) -> str:
        """A norm of the residual behind so many of a layer's blocks."""
        divisor = (1.0, *self.divisors)[behind]
        return g.layer_norm(x, name, self.eps / divisor**2, bias=self.norm_bias)

    def _feed_forward(self, g: Graph, x: str, frames: str, name: str) -> str:
        up, down = self.names.dense
        x = g.linear(x, f"{name}.{up}", frames, bias=self.bias)
        x = g.add("activation", x, function=self.activation)
        return g.linear(x, f"{name}.{down}", frames, bias=self.bias)

    def _attention(self, g: Graph, x: str, frames: str, name: str, places: tuple[str, ...]) -> str:
        *projections, out = (f"{name}.{part}" for part in self.names.projections)
        turned = x
        if self.positions == "rotary":
            turned = g.add("merge_heads", _turned(g, g.add("split_heads", x, heads=self.heads), *places))
        q, k, v = (
            blocks.in_heads(g, y, p, frames, self.heads, bias=self.bias)
            for y, p in zip((turned, turned, x), projections, strict=True)
        )
        bias = ""
        if self.positions == "rotary_heads":
            q, k = _turned(g, q, *places), _turned(g, k, *places)
        elif self.positions == "relative":
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

    def _convolution(self, g: Graph, x: str, frames: str, name: str) -> str:
        x = blocks.gated(g, g.linear(x, f"{name}.pointwise_conv1", frames, bias=self.convolution_bias))
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


def _turned(g: Graph, x: str, cos: str, sin: str) -> str:
    """[B, H, T, d] turned by position."""
    return g.add("rotary", x, cos, sin, weights={"rotation": f"{OWN}.rotation"})


def _odd(kernel: Tensor) -> Tensor:
    """A kernel of as many steps before its middle as behind it: one of an even number looks a step further ahead."""
    return kernel if kernel.shape[2] % 2 else torch.nn.functional.pad(kernel, (1, 0))


def _change(weights: dict[str, Tensor], key: str, change: Callable[[Tensor], Tensor]) -> None:
    if key in weights:
        weights[key] = change(weights[key])
