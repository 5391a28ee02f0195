"""What models of usual sizes take: seconds, bytes, memory."""

from __future__ import annotations

from tables.markdown import cpu, known, made_by, markdown
from tables.size_speeds import models_of


def table(name: str) -> str:
    """Of bench/sizes.py, on one thread: FILE, or of some of its models FILE/MODEL,MODEL."""
    r, models = models_of(name)
    models = [m for m in models if m["threads"] == 1]
    compared = any("difference" in x for m in models for x in m["systems"])  # older results have none
    rows = []
    for m in models:
        for x in m["systems"]:
            label = f"{m['model']}, {x['name']}"
            rows.append(
                [
                    f"**{label}**" if x["name"].startswith("int8") else label,
                    f"{x['seconds']:.2f}",
                    *([x.get("wrong") or known(x.get("difference"), "{:.1%}")] if compared else []),
                    known(x.get("bytes") and x["bytes"] / m["float_bytes"], "{:.3f}"),
                    known(x.get("peak_rss_bytes") and x["peak_rss_bytes"] / 1e6, "{:.0f}"),
                    known(x.get("load_seconds"), "{:.1f}"),
                ]
            )
    failed = [f"{m['model']}, {n} ({why})" for m in models for n, why in m["left_out"].items()]
    note = (
        f"Random weights, {r['seconds']:g} s of audio, batch {r['batch']}, one thread; medians of {r['rounds']} rounds in turns; "
        f"bytes against those of float32 weights; {', '.join(r['runtimes'])}; {cpu(r)}."
    )
    if compared:
        note += " Off float: the logits' difference, root mean square, as a share of float's."
    if failed:
        note += f" Left out: {'; '.join(failed)}."
    return markdown(
        ["", "seconds", *(["off float"] if compared else []), "bytes", "peak MB", "seconds to load"],
        rows,
        note,
        made_by(r),
    )
