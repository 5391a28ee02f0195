"""Quantisation-aware training beside GPTQ, a row a model and form."""

from __future__ import annotations

from typing import Any

from result_path import load_result

from tables.markdown import cpu, made_by, markdown

WAYS = ("nearest", "GPTQ", "tuned, nearest", "tuned, GPTQ", "tuned, float")


def table(name: str) -> str:
    """Of bench/finetune.py."""
    s = load_result(name)
    rows, notes = [], {}
    for model, found in s["models"].items():
        loss = found["training_loss"]
        rows.append(
            [
                model,
                *(_divergence(found["ways"].get(way)) for way in WAYS),
                f"{1000 * loss['first']:.0f} to {1000 * loss['last']:.0f}",
                f"{found['steps']}",
                f"{found['cpu_minutes']:.1f}",
            ]
        )
        folder = model.partition(",")[0]
        notes[folder] = (
            f"{folder}: {found['dev_utterances']} dev utterances ({found['dev_seconds']:.0f} s) of {', '.join(found['data'])}, "
            f"trained on {found['training_seconds']:.0f} s of speech in batches of {found['batch_seconds']:.0f} s"
        )
    head = ["thousandths of a nat a step, ± standard error", *WAYS, "training loss", "steps", "CPU minutes"]
    note = f"{'; '.join(notes.values())}. Minutes of one thread in training; {cpu(s)}."
    commands = {found["command"]: found for found in s["models"].values()}
    return markdown(head, rows, note, made_by(*commands.values()))


def _divergence(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not measured"
    return f"{1000 * found['divergence']:.1f} ± {1000 * found['divergence_error']:.1f}"
