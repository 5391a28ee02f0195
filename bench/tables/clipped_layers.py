"""What bench/clipped.py found layer by layer."""

from __future__ import annotations

from result_path import load_result

from tables.clipped import share
from tables.markdown import made_by, markdown


def table(name: str) -> str:
    """The flagged layers, and others that clip most of their frames; layers that read the same values stand once."""
    models = load_result(name)["models"]
    rows = []
    for model, found in models.items():
        seen = set()
        for r in found["runs"]["before"]["layers"]:
            same = r["frames"], r["clipped"], r["clipped_frames"]
            if same in seen:
                continue
            seen.add(same)
            most = r["most"][0]
            rows.append(
                [
                    f"{model}: {r['layer']}",
                    "yes" if r["layer"] in found["judged"] else "",
                    share(r["clipped"] / r["values"]),
                    share(r["clipped_frames"] / r["frames"]),
                    *("" if r[key] is None else share(r[key]) for key in ("in_speech", "in_silence")),
                    f"{r['clipped_channels']} of {r['channels']}",
                    f"{most['channel']} ({share(most['clipped'] / r['clipped'])})",
                ]
            )
    head = ["layer", "flagged", "values", "frames", "in speech", "in silence", "channels", "most in channel"]
    return markdown(head, rows, made_by(*models.values()))
