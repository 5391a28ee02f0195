"""What a model consists of, and what quantisation would make of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from stablequant.families.checkpoint import load

#: Why operations without an int8 form stay in float.
REASONS = {
    "matmul": "attention's products of activations stay in float unless attention_matmuls is set",
    "layer_norm": "normalisation needs float range; its cost is small",
    "group_norm": "normalisation needs float range; its cost is small",
    "activation": "elementwise, no weights",
    "attention_softmax": "elementwise, no weights",
    "embedding": "a table; stored in int8 with the head when they share it",
    "positions": "a small table of learned positions",
    "relative_bias": "a small table of relative positions",
}


def inspect(name: str, language: str | None = None) -> dict[str, Any]:
    """Family, operations, parameters and bytes of the model called ``name``.

    Args:
        name: A folder in Hugging Face form, or a hub id.
        language: Of a model with one set of adapters a language: whose to look at; others only must know it.

    Returns:
        ``ops``: one row a quantisable operation, in the order of execution; ``float``: counts and reasons for the rest;
        ``parameters``, ``float_bytes`` and ``int8_bytes`` (weights alone) of the whole.
    """
    model = load(name, language).asked(language)
    rows, quantised = [], {}
    for op in model.ops():
        weight = model.weight(op)
        assert weight is not None
        quantised[op.node.weights["weight"]] = weight.numel(), weight.shape[0]
        rows.append(
            {
                "name": op.name,
                "graph": op.graph,
                "kind": op.node.kind,
                "shape": list(weight.shape),
                "parameters": weight.numel(),
            }
        )
    left = Counter(n.kind for g in model.graphs for n in g.nodes if n.kind in REASONS)
    parameters = model.float_bytes // 4
    inside = sum(count for count, _ in quantised.values())
    channels = sum(out for _, out in quantised.values())
    return {
        "model": name,
        "family": model.family,
        "class": model.frontend.config["architectures"][0],
        "language": model.language,
        "fingerprint": model.fingerprint,
        "parameters": parameters,
        "parameters_int8": inside,
        "float_bytes": model.float_bytes,
        "notes": list(model.notes),
        "int8_bytes": inside + 4 * channels + 4 * (parameters - inside),
        "ops": rows,
        "float": [{"kind": k, "count": n, "reason": REASONS[k]} for k, n in sorted(left.items())],
    }
