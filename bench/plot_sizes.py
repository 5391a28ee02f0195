"""What the report's plots would weigh by a library: bytes of one histogram as ours, as matplotlib's SVG, and of Vega's scripts.

pip install matplotlib vl-convert-python && python bench/plot_sizes.py
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from stablequant.grid.affine import Range
from stablequant.grid.histogram import Histogram
from stablequant.report import plots
from stablequant.runtime.processor import machine


def bars() -> tuple[Histogram, Range]:
    """A layer's input with outliers, and a grid that clips them."""
    values = np.concatenate((np.random.default_rng(0).normal(0, 2, 200_000), np.linspace(20, 141, 50)))
    histogram = Histogram("input")
    histogram.update(torch.from_numpy(values.astype(np.float32)))
    return histogram, Range(-8.0, 8.0)


def by_matplotlib(histogram: Histogram, grid: Range) -> str:
    """The same picture: columns on a logarithmic scale, those beyond the grid in another colour, its ends marked."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    bins = histogram.nonempty()
    edges = np.linspace(bins.low[0], bins.high[-1], plots.COLUMNS + 1)
    counts = np.diff(plots.mass_below(bins, edges))
    figure, axes = pyplot.subplots(figsize=(9, 2.4))
    for kept in (True, False):
        inside = ((edges[1:] <= grid.high) & (edges[:-1] >= grid.low)) == kept
        axes.stairs(np.where(inside, counts, 0), edges, fill=True)
    axes.set_yscale("symlog")
    for end in (grid.low, grid.high):
        axes.axvline(end)
    file = io.StringIO()
    figure.savefig(file, format="svg")
    return file.getvalue()


def sizes(text: str) -> dict[str, int]:
    """As it is, and compressed."""
    return {"bytes": len(text.encode()), "gzip": len(gzip.compress(text.encode(), mtime=0))}


def main() -> None:
    """Measure, print and keep."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    import vl_convert

    histogram, grid = bars()
    found = {
        "machine": machine(),
        "versions": {name: version(name) for name in ("matplotlib", "vl-convert-python")},
        "ours": sizes(str(plots.histogram(histogram.nonempty(), grid))),
        "matplotlib": sizes(by_matplotlib(histogram, grid)),
        "vega_scripts": sizes(vl_convert.javascript_bundle()),
    }
    path = Path(__file__).parent / "results" / "plot_sizes.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
