"""What each ingredient is worth: divergence without it and with it, everything else alike, from the table of all methods."""

from __future__ import annotations

from typing import Any

from result_path import load_result

from stablequant.widths import WIDTHS
from tables.claim import OURS
from tables.markdown import made_by, markdown

BLOCKS, GPTQ = "a scale a frame or block, mse", "a scale a frame or block, GPTQ"
#: Ingredient -> the method without it, and with it.
PAIRS = {
    "weights in groups, convolutions at 8 bits": ("static, mse", "static, mse, weights in groups"),
    "a scale a frame or block for one scale an activation": ("static, mse, weights in groups", BLOCKS),
    "weight scales of least error": ("a scale a frame or block, nearest", BLOCKS),
    "GPTQ": (BLOCKS, GPTQ),
    "AdaRound": (BLOCKS, "a scale a frame or block, AdaRound"),
    "bias correction, behind GPTQ": (GPTQ, "a scale a frame or block, GPTQ, bias"),
    "SmoothQuant, in front of GPTQ": (GPTQ, "SmoothQuant, a scale a frame or block, GPTQ"),
    "AWQ's scaling, in front of GPTQ": (GPTQ, "AWQ's scaling, a scale a frame or block, GPTQ"),
    "rotations, in front of GPTQ": (GPTQ, "rotations, a scale a frame or block, GPTQ"),
    "a width a layer within the same bytes": (OURS, "a width a layer within these bytes"),
}


def table(name: str) -> str:
    """Of bench/methods_table.py; bold where the standard errors of both do not reach each other."""
    models = load_result(name)["models"]
    held = {(m, r["method"], r["bits"]): r for m, found in models.items() for r in found["rows"]}
    widths = [bits for bits in WIDTHS if any(key[2] == bits for key in held)]
    rows = []
    for model in models:
        for ingredient, (without, given) in PAIRS.items():
            cells = [_cell(held.get((model, without, bits)), held.get((model, given, bits))) for bits in widths]
            if any(cells):
                rows.append([f"{model}: {ingredient}", *cells])
    note = "Nats a step without and with it; **bold**: better, *slanted*: worse, by more than both standard errors together."
    return markdown(["", *widths], rows, note, "; ".join(dict.fromkeys(made_by(m) for m in models.values())))


def _cell(without: dict[str, Any] | None, given: dict[str, Any] | None) -> str:
    """The two divergences; nothing where one is missing, or was measured on a part of the speech."""
    both = [r for r in (without, given) if r and r["divergence"] is not None]
    if len(both) < 2 or len({r.get("utterances") for r in both}) > 1:
        return ""
    before, after = both
    text = f"{before['divergence']:.2g} to {after['divergence']:.2g}"
    change, chance = after["divergence"] - before["divergence"], sum(r["divergence_error"] for r in both)
    if abs(change) <= chance:
        return text
    return f"**{text}**" if change < 0 else f"*{text}*"
