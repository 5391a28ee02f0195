"""What a page would weigh otherwise: one histogram as ours and as matplotlib's SVG, Vega's scripts, and speech by format.

pip install matplotlib vl-convert-python && python bench/report_sizes.py
"""

from __future__ import annotations

import argparse
import gzip
import io
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from result_path import ROOT, save
from tables import report_sizes

from stablequant.data.audio import read
from stablequant.grid.affine import Range
from stablequant.grid.histogram import Histogram
from stablequant.report import plots

RATE = 16_000
#: Speech formats of libsndfile; the first is that of the report.
FORMATS: dict[str, dict[str, Any]] = {
    "MP3": {"format": "MP3", "bitrate_mode": "VARIABLE", "compression_level": 0.7},
    "Opus": {"format": "OGG", "subtype": "OPUS"},
    "Vorbis": {"format": "OGG", "subtype": "VORBIS"},
    "FLAC": {"format": "FLAC"},
}


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


def rate(recordings: Sequence[NDArray[np.float32]], how: Mapping[str, Any]) -> float:
    """Kilobits a second of all recordings in one format."""
    written = 0
    for samples in recordings:
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, **how)
        written += len(file.getvalue())
    return round(written * 8 / 1000 / (sum(map(len, recordings)) / RATE), 1)


def sizes(text: str) -> dict[str, int]:
    """As it is, and compressed."""
    return {"bytes": len(text.encode()), "gzip": len(gzip.compress(text.encode(), mtime=0))}


def main() -> None:
    """Measure, print and keep."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    import vl_convert

    histogram, grid = bars()
    recordings = [read(path, RATE) for path in sorted((ROOT / "examples" / "asterisk" / "audio").glob("*"))[::10]]
    found = {
        "versions": {name: version(name) for name in ("matplotlib", "vl-convert-python")},
        "ours": sizes(str(plots.histogram(histogram.nonempty(), grid))),
        "matplotlib": sizes(by_matplotlib(histogram, grid)),
        "vega_scripts": sizes(vl_convert.javascript_bundle()),
        "speech": {"recordings": len(recordings), **{name: rate(recordings, how) for name, how in FORMATS.items()}},
    }
    print(report_sizes.table(save("report_sizes", found)))


if __name__ == "__main__":
    main()
