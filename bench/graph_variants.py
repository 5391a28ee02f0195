"""What each variant of the graph is worth: files written with one variant after another, timed in turns.

    python bench/graph_variants.py demo-out

The first graph of each run (of an encoder-decoder model its encoder) in each runtime, one thread. Writes
bench/results/graph_variants.json.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from inputs import RUN, arguments_of
from result_path import save
from tables import graph_variants

from stablequant.export.emitters import attention
from stablequant.export.targets import TARGETS, Target
from stablequant.export.translate import to_onnx
from stablequant.families.model import SpeechModel
from stablequant.jobs.open import open_plan, planned_weights
from stablequant.measure.latency import interleaved
from stablequant.quantize.plan import Plan
from stablequant.quantize.weights import WeightStore
from stablequant.runtime import onnxruntime as runtime
from stablequant.runtime.registry import RUNTIMES

ROUNDS = 15
#: Seconds of audio, and recordings at a time.
CASES = ((2, 1), (10, 1), (10, 8))


def onnxruntime_files(plan: Plan, model: SpeechModel, weights: WeightStore) -> Iterator[tuple[str, bytes]]:
    """The graph in int8 with no variant, then with one more each time, and in float."""
    target, scheme, graph = TARGETS["onnxruntime"], plan.scheme(), model.graphs[0]

    def file(target: Target, *, quantised: bool = True) -> bytes:
        return to_onnx(graph, scheme if quantised else {}, weights, target).SerializeToString()

    convolutions = replace(target, windows=())
    with mock.patch.object(attention, "_brings_padding", lambda w, product: False):
        yield "int8, plain, mask added", file(replace(convolutions, float_convolutions=False))
        yield "planes added before one convolution", file(convolutions)
    yield "mask in the product", file(convolutions)
    yield "convolutions in windows", file(target)
    # A session is opened before the next file is asked for, so with this setting.
    with mock.patch.object(runtime, "configuration", lambda: runtime.EXACT):
        yield "the same, set to uint8 by uint8", file(target)
    yield "not taken: of two planes too", file(replace(target, windows=(1, 2)))
    yield "float32", file(target, quantised=False)
    yield "not taken: float32 in windows", file(replace(target, windows=(0, 1)), quantised=False)


def openvino_files(plan: Plan, model: SpeechModel, weights: WeightStore) -> Iterator[tuple[str, bytes]]:
    """As for ONNX Runtime."""
    target, scheme, graph = TARGETS["openvino"], plan.scheme(), model.graphs[0]

    def file(target: Target, *, quantised: bool = True) -> bytes:
        return to_onnx(graph, scheme if quantised else {}, weights, target).SerializeToString()

    convolutions = replace(target, windows=())
    with mock.patch.object(attention, "_brings_padding", lambda w, product: False):
        yield "int8, plain, mask added", file(convolutions)
    yield "mask in the product", file(convolutions)
    yield "convolutions in windows", file(target)
    yield "float32", file(target, quantised=False)
    yield "float32, convolutions as they are", file(convolutions, quantised=False)


FILES = {"onnxruntime": onnxruntime_files, "openvino": openvino_files}


def speeds(times: dict[tuple[str, str], list[float]], name: str) -> dict[str, float]:
    """Speed of each variant in one runtime against float32 there: ratios round by round, so that a slow one is slow for both."""
    baseline = times[name, "float32"]
    ratios = {
        variant: [f / s for f, s in zip(baseline, taken, strict=True)]
        for (of, variant), taken in times.items()
        if of == name
    }
    return {variant: round(statistics.median(values), 4) for variant, values in ratios.items()}


def main() -> None:
    """Time every variant."""
    parser = arguments_of(__doc__)
    parser.add_argument("runs", type=Path, nargs="*", default=[RUN], help="folders that stablequant quantize wrote")
    parser.add_argument("--checkpoint", action="append", help="where the float checkpoint of each is now")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for run, checkpoint in zip(arguments.runs, arguments.checkpoint or [""] * len(arguments.runs), strict=True):
        plan, model = open_plan(run, checkpoint)
        weights = planned_weights(run, plan, model)
        graph, rate = model.graphs[0].name, model.frontend.sampling_rate
        backends = {
            (name, variant): RUNTIMES[name]({graph: file}, threads=1)
            for name, files in FILES.items()
            for variant, file in files(plan, model, weights)
        }
        for seconds, batch in CASES:
            noise = 0.1 * np.random.default_rng(0).standard_normal((batch, seconds * rate)).astype(np.float32)
            feeds = model.frontend.features(list(noise)).feeds
            runners = {key: lambda item, b=b, graph=graph: b.run(graph, item) for key, b in backends.items()}
            times = interleaved(runners, [feeds], ROUNDS)
            case = {"model": run.name, "graph": graph, "seconds": seconds, "batch": batch}
            rows += [case | {"runtime": name, "speeds": speeds(times, name)} for name in FILES]
    result = {"runtimes": [RUNTIMES[name]({}).name for name in FILES], "rounds": ROUNDS, "rows": rows}
    print(graph_variants.table(save("graph_variants", result, timed=True)))


if __name__ == "__main__":
    main()
