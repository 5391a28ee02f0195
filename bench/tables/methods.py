"""Float, the same calibrator everywhere, stablequant and its int8 file on test speech."""

from __future__ import annotations

from typing import Any

from result_path import load_result

from stablequant.report.formats import method, paper_note
from tables.markdown import cpu, interval, made_by, markdown


def table(name: str) -> str:
    """Of a summary: `stablequant quantize --json` or bench/methods.py."""
    s = load_result(name)
    f, file = s["float"], s["int8_file"]
    mb = s["model"]["float_bytes"] / 1e6
    rows = [["float32", f"{f['wer']:.2f}", "", "", f"{f['cer']:.2f}", f"{mb:.1f}", "1"]]
    rows += [_row(f"{method(k, r)}, simulated", r, "", "") for k, r in s["methods"].items()]
    rows.append(_row("**the int8 file**", file, f"{file['bytes'] / 1e6:.1f}", f"{file['speedup']:.2f}"))
    head = ["W8A8, every operation", "WER %", "against float", "95 % interval", "CER %", "MB", "speed"]
    test, dev = s["data"]["test"]["details"], s["data"]["dev"]["details"]
    residual = ", inputs of the flagged ones in two planes" if "planes=2" in s["command"] else ""
    note = (
        f"Test: {test['utterances']} utterances, {f['words']} words; search on {s['dev'].get('utterances', dev['utterances'])} "
        f"dev utterances, {s['dev']['words']} words{_found(s)}. "
        f"{s['ops_int8']} of {s['ops']} operations in int8{residual}; {file['bytes_ratio']:.3f} of float32's bytes. "
        f"The file's WER differs from the simulation's by {file['wer_difference_to_simulation']:+.2f} points. "
        f"Speed: one utterance at a time, both files in {file['runtime']}, {cpu(s)}."
    )
    return markdown(head, rows, note, *filter(None, [paper_note(s)]), made_by(s))


def _row(label: str, r: dict[str, Any], mb: str, speed: str) -> list[str]:
    return [
        label,
        f"{r['wer']:.2f}",
        f"{r['delta']:+.2f}",
        interval(r["delta_interval"]),
        f"{r['cer']:.2f}",
        mb,
        speed,
    ]


def _found(s: dict[str, Any]) -> str:
    """What the search came to."""
    if found := s.get("allocation"):
        schemes = ", ".join(f"{count} {name}" for name, count in found["schemes"].items())
        return f", in {s['search']['seconds']:.0f} seconds of computation. Layers: {schemes}"
    p = s["p"] if not isinstance(s["p"], dict) else "one a layer"
    return f". Flagged by stage 1: {_flagged(s)}. p = {p}"


def _flagged(s: dict[str, Any]) -> str:
    """The flagged layers, the most sensitive first."""
    deltas = s.get("sensitivity", {})
    names = sorted(s["flagged"], key=lambda n: -deltas.get(n, 0.0))
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(f"`{n}`" for n in names[:6]) + more or "none"
