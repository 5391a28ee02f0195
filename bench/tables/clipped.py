"""What bench/clipped.py found."""

from __future__ import annotations

from typing import Any

from result_path import load_result

from tables.markdown import cpu, markdown


def table(name: str) -> str:
    """By model: where clipped frames lie, how uneven over tokens, and words that went wrong."""
    rows, commands, machines = [], [], []
    for model, found in load_result(name)["models"].items():
        before, after = (found["runs"][run] for run in ("before", "after"))
        speech, tokens = before["speech"], before["tokens"]
        kinds = ", ".join(f"{k['token'].replace('|', 'space')} {share(k['clipped'])}" for k in tokens["kinds"][:5])
        rows.append(
            [
                model,
                f"**{found['verdict']}**",
                f"{share(speech['in_speech'])}, {share(speech['in_silence'])}",
                f"{share(tokens['mean'])}; p = {tokens['p']:.2g}",
                kinds,
                *(f"{words(run['words'])}" for run in (before, after)),
            ]
        )
        commands.append(f"`{found['command']}`")
        machines.append(
            f"{model}: {found['recordings']} recordings, {found['seconds']:.0f} s, p = {found['p']:g} %, {cpu(found)}"
        )
    head = [
        "model",
        "verdict",
        "frames clipped in speech, in silence",
        "in tokens; uneven over them",
        "most in",
        "wrong and right words in float",
        "under the plan",
    ]
    return markdown(head, rows, "; ".join(machines) + ".", "; ".join(commands))


def share(value: float) -> str:
    """In per cent."""
    return f"{float(f'{100 * value:.2g}'):g}%"  # no exponent at 100


def words(found: dict[str, Any]) -> str:
    """Frames clipped in words that went wrong, in others, and the permutation test."""
    if found["p"] is None:
        return f"{found['wrong']} of {found['count']} wrong"
    pair = f"{share(found['clipped_wrong'])}, {share(found['clipped_right'])}"
    return f"{pair} ({found['wrong']} of {found['count']} wrong); p = {found['p']:.2g}"
