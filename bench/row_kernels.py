"""Forms of the work around an int8 product in ONNX Runtime, each alone: what the files and the session's settings choose between.

    python bench/row_kernels.py

An input's codes with a scale a frame, written as quotients behind magnitudes, or by one quantiser with a scale a row; and GELU
behind a bias, as one operator or as two. Random values, one thread; seconds are those that this process computes. Writes
bench/results/row_kernels.json.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from unittest import mock

import numpy as np
import torch
from inputs import arguments_of
from result_path import save
from tables import row_kernels

from stablequant.export.emitters import frames
from stablequant.export.targets import TARGETS
from stablequant.export.translate import to_onnx
from stablequant.grid.frame import PerFrame
from stablequant.grid.weights import WeightSpec
from stablequant.measure.latency import interleaved
from stablequant.network.graph import Graph
from stablequant.quantize.scheme import LayerScheme
from stablequant.quantize.weights import WeightStore
from stablequant.runtime import onnxruntime as runtime

ROUNDS = 25
#: Rows and channels: of Moonshine's encoder on 3 s of audio, and of wav2vec2-base's feed-forward and first convolutions on 10 s.
SIZES = ((123, 1152), (499, 3072), (8000, 512))
WIDTH = 8
Write = Callable[[Graph, str], str]


def graph(channels: int, write: Write) -> Graph:
    """A graph of what ``write`` adds, with a bias of its width and a linear layer from it to a few channels."""
    weights = {"l.weight": torch.randn(WIDTH, channels), "b.offset": torch.randn(channels)}
    g = Graph("case", weights)
    g.output(write(g, g.input("x", "float32", ("batch", "rows", channels))), "y", ("batch", "rows", "width"))
    return g


def in_int8(g: Graph, x: str) -> str:
    """A layer so narrow that its input's codes are what it costs."""
    return g.linear(x, "l", bias=False)


def with_gelu(g: Graph, x: str) -> str:
    """A bias and GELU."""
    return g.add("activation", g.add("offset", x, weights={"offset": "b.offset"}), function="gelu")


def session(made: Graph, *, quantised: bool) -> runtime.OnnxRuntimeBackend:
    """The graph in ONNX Runtime with the settings as they are now."""
    scheme = {"l": LayerScheme((PerFrame(),), WeightSpec())} if quantised else {}
    weights = WeightStore({"l": made.weights["l.weight"]})
    file = to_onnx(made, scheme, weights, TARGETS["onnxruntime"]).SerializeToString()
    return runtime.OnnxRuntimeBackend({"case": file}, threads=1)


def forms(channels: int) -> dict[str, runtime.OnnxRuntimeBackend]:
    """Every form, for rows of so many channels."""
    layer, gelu = graph(channels, in_int8), graph(channels, with_gelu)
    found = {"codes: one quantiser, a scale a row": session(layer, quantised=True)}
    with mock.patch.object(frames, "_many_rows", lambda w: False):
        found["codes: magnitudes, quotients, one scale"] = session(layer, quantised=True)
    found["GELU: behind its bias"] = session(gelu, quantised=False)
    with mock.patch.object(runtime, "DISABLED", ("MatMulAddFusion",)):
        found["GELU: with its bias in one"] = session(gelu, quantised=False)
    return found


def main() -> None:
    """Time every form at every size."""
    arguments_of(__doc__).parse_args()
    rows = []
    for count, channels in SIZES:
        torch.manual_seed(0)
        feeds = {"x": np.random.default_rng(0).standard_normal((1, count, channels)).astype(np.float32)}
        runners = {name: lambda item, b=b: b.run("case", item) for name, b in forms(channels).items()}
        for name, seconds in interleaved(runners, [feeds], ROUNDS, time.process_time).items():
            quarters = statistics.quantiles(seconds, n=4)
            milliseconds = [round(1e3 * q, 4) for q in quarters]
            rows.append({"form": name, "rows": count, "channels": channels, "milliseconds": milliseconds})
    result = {"runtime": runtime.OnnxRuntimeBackend({}).name, "rounds": ROUNDS, "rows": rows}
    print(row_kernels.table(save("row_kernels", result, timed=True)))


if __name__ == "__main__":
    main()
