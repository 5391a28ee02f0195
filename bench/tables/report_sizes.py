"""What a page would weigh with other plots, and recordings in other formats."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import made_by, markdown

NAMES = {
    "ours": "ours",
    "matplotlib": "matplotlib {matplotlib}, SVG",
    "vega_scripts": "Vega's scripts, once a page (vl-convert {vl-convert-python})",
}


def table(name: str) -> str:
    """Of bench/report_sizes.py."""
    r = load_result(name)
    rows = [
        [label.format(**r["versions"]), f"{r[key]['bytes']:,}", f"{r[key]['gzip']:,}"] for key, label in NAMES.items()
    ]
    speech = dict(r["speech"])
    count = speech.pop("recordings")
    told = ", ".join(f"{kind} {rate}" for kind, rate in speech.items())
    note = f"{count} recordings of examples/asterisk at 16 kHz, kbit/s: {told}."
    return markdown(["one histogram", "bytes", "compressed"], rows, note, made_by(r))
