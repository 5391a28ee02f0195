"""What the report's plots would weigh by a library."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import markdown

NAMES = {
    "ours": "ours",
    "matplotlib": "matplotlib {matplotlib}, SVG",
    "vega_scripts": "Vega's scripts, once a page (vl-convert {vl-convert-python})",
}


def table(name: str) -> str:
    """Of bench/plot_sizes.py."""
    r = load_result(name)
    rows = [
        [label.format(**r["versions"]), f"{r[key]['bytes']:,}", f"{r[key]['gzip']:,}"] for key, label in NAMES.items()
    ]
    return markdown(["one histogram", "bytes", "compressed"], rows, "`python bench/plot_sizes.py`")
