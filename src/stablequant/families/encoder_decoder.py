"""Parts that encoders and decoders of several families have in common, as operations of a graph."""

from __future__ import annotations

from stablequant.network.graph import Graph

#: What attention keeps of each step: of the decoder's own in its cache, of the encoder's once an utterance.
ROLES = ("key", "value")


def projected(g: Graph, x: str, name: str, heads: int, lengths: str = "", *, bias: bool = True) -> str:
    """A linear layer whose outputs are dealt to ``heads``: ``[B, T, C] -> [B, heads, T, C' / heads]``."""
    return g.add("split_heads", g.linear(x, name, lengths, bias=bias), heads=heads)


def attend(
    g: Graph,
    q: str,
    k: str,
    v: str,
    name: str,
    *,
    head_size: int,
    lengths: str = "",
    key_lengths: str = "",
    causal: bool = False,
) -> str:
    """Scaled dot-product attention: values ``[B, T, C]`` ahead of the output projection; ``name`` is the module's."""
    scores = g.add("matmul", q, k, name=f"{name}.scores", lengths=lengths, transpose=True, scale=head_size**-0.5)
    extras = (key_lengths,) if key_lengths else ()
    probabilities = g.add("attention_softmax", scores, *extras, extras=("lengths",) * len(extras), causal=causal)
    context = g.add("matmul", probabilities, v, name=f"{name}.context", lengths=lengths, transpose=False, scale=1.0)
    return g.add("merge_heads", context)


def feed_forward(g: Graph, x: str, wide: str, narrow: str, function: str, lengths: str = "") -> str:
    """Two linear layers, ``wide`` and ``narrow``, with an activation function between them."""
    return g.linear(g.add("activation", g.linear(x, wide, lengths), function=function), narrow, lengths)


def give_out_cross(
    g: Graph,
    x: str,
    layers: int,
    heads: int,
    head_size: int,
    frames: str | int,
    lengths: str = "",
    *,
    bias: dict[str, bool],
) -> None:
    """End an encoder with the keys and values of the decoder's cross-attention, which depend on the encoder alone."""
    for i in range(layers):
        for role in ROLES:
            name = f"model.decoder.layers.{i}.encoder_attn.{role[0]}_proj"
            value = projected(g, x, name, heads, lengths, bias=bias[role])
            g.output(value, f"cross_{role}_{i}", ("batch", heads, frames, head_size))


def attention_inputs(g: Graph, kind: str, layers: int, heads: int, steps: str | int, head_size: int) -> list[list[str]]:
    """Inputs ``kind``_key_i and ``kind``_value_i ``[B, heads, steps, head_size]`` of each of a decoder's layers."""
    shape = ("batch", heads, steps, head_size)
    return [[g.input(f"{kind}_{role}_{i}", "float32", shape) for role in ROLES] for i in range(layers)]


def remembered(g: Graph, past: list[str], new: list[str], layer: int, heads: int, head_size: int) -> list[str]:
    """Keys and values of all steps so far, given out as the next step's past."""
    found = [g.add("append_steps", old, value) for old, value in zip(past, new, strict=True)]
    for role, value in zip(ROLES, found, strict=True):
        shape = ("batch", heads, "past + tokens", head_size)
        g.output(value, f"{role}_{layer}", shape, carries=f"past_{role}_{layer}")
    return found


def embedded(g: Graph, ids: str) -> str:
    """Rows of the tokens' table; where the head is tied to it, its weight is the head's."""
    shares = "" if _own_head(g) else "proj_out"
    table = {"weight": "model.decoder.embed_tokens.weight"}
    return g.add("embedding", ids, name="model.decoder.embed_tokens", weights=table, shares=shares)


def give_out_logits(g: Graph, x: str) -> None:
    """The head, with a weight of its own or the tokens' table."""
    weight = "proj_out.weight" if _own_head(g) else "model.decoder.embed_tokens.weight"
    logits = g.add("linear", x, name="proj_out", weights={"weight": weight})
    g.output(logits, "logits", ("batch", "tokens", "vocabulary"))


def cache_of(layers: int) -> tuple[tuple[str, str], ...]:
    """What of a decoder's outputs becomes which input of its next step (``DecoderSpec.cache``)."""
    return tuple((f"{role}_{i}", f"past_{role}_{i}") for i in range(layers) for role in ROLES)


def _own_head(g: Graph) -> bool:
    """A head of its own is there only where the two are not tied."""
    return "proj_out.weight" in g.weights
