"""What each form of the graph is worth: files written with one form after another, timed in turns.

    python bench/graph_variants.py build/bench/moonshine-tiny-planes build/bench/wavlm-graft

The first graph of each run (of a seq2seq model its encoder) in each runtime, one thread. Writes bench/results/forms.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does

import numpy as np  # noqa: E402
from where import result_file  # noqa: E402

from stablequant.export import writer  # noqa: E402
from stablequant.export.emitters import attention  # noqa: E402
from stablequant.export.targets import RECIPES  # noqa: E402
from stablequant.families.model import SpeechModel  # noqa: E402
from stablequant.jobs.serve import open_plan  # noqa: E402
from stablequant.measure.latency import interleaved  # noqa: E402
from stablequant.quantize.plan import Plan  # noqa: E402
from stablequant.report.tables import table  # noqa: E402
from stablequant.runtime import onnxruntime as runtime  # noqa: E402
from stablequant.runtime.processor import machine  # noqa: E402
from stablequant.runtime.registry import RUNTIMES  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 15
#: Seconds of audio, and recordings at a time.
CASES = ((2, 1), (10, 1), (10, 8))


def onnxruntime_files(plan: Plan, model: SpeechModel) -> Iterator[tuple[str, bytes]]:
    """The graph in float, then in int8 with no form, and with one more each time."""
    recipe, scheme, graph = RECIPES["onnxruntime"], plan.scheme(), model.graphs[0]
    convolutions = replace(recipe, windows=())
    plain = replace(convolutions, float_convolutions=False)
    with mock.patch.object(attention, "_brings_padding", lambda w, product: False):
        yield "int8, plain, mask added", writer.to_onnx(graph, scheme, plain).SerializeToString()
        yield "planes added before one convolution", writer.to_onnx(graph, scheme, convolutions).SerializeToString()
    yield "mask in the product", writer.to_onnx(graph, scheme, convolutions).SerializeToString()
    file = writer.to_onnx(graph, scheme, recipe).SerializeToString()
    yield "convolutions in windows", file
    # A session is opened before the next file is asked for, so with this setting.
    with mock.patch.object(runtime, "configuration", lambda: runtime.EXACT):
        yield "the same, set to uint8 by uint8", file
    both = replace(recipe, windows=(1, 2))
    yield "not taken: of two planes too", writer.to_onnx(graph, scheme, both).SerializeToString()
    yield "float32", writer.to_onnx(graph, {}, recipe).SerializeToString()
    in_windows = replace(recipe, windows=(0, 1))
    yield "not taken: float32 in windows", writer.to_onnx(graph, {}, in_windows).SerializeToString()


def openvino_files(plan: Plan, model: SpeechModel) -> Iterator[tuple[str, bytes]]:
    """As for ONNX Runtime."""
    recipe, scheme, graph = RECIPES["openvino"], plan.scheme(), model.graphs[0]
    convolutions = replace(recipe, windows=())
    with mock.patch.object(attention, "_brings_padding", lambda w, product: False):
        yield "int8, plain, mask added", writer.to_onnx(graph, scheme, convolutions).SerializeToString()
    yield "mask in the product", writer.to_onnx(graph, scheme, convolutions).SerializeToString()
    yield "convolutions in windows", writer.to_onnx(graph, scheme, recipe).SerializeToString()
    yield "float32", writer.to_onnx(graph, {}, recipe).SerializeToString()
    yield "float32, convolutions as they are", writer.to_onnx(graph, {}, convolutions).SerializeToString()


FILES = {"onnxruntime": onnxruntime_files, "openvino": openvino_files}


def main() -> None:
    """Time every form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished stablequant quantize")
    parser.add_argument("--checkpoint", action="append", help="where the float checkpoint of each is now")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for run, checkpoint in zip(arguments.runs, arguments.checkpoint or [""] * len(arguments.runs), strict=True):
        plan, model = open_plan(run, checkpoint)
        graph, rate = model.graphs[0].name, model.frontend.sampling_rate
        backends = {
            (name, form): RUNTIMES[name]({graph: file}, threads=1)
            for name, forms in FILES.items()
            for form, file in forms(plan, model)
        }
        for seconds, batch in CASES:
            noise = 0.1 * np.random.default_rng(0).standard_normal((batch, seconds * rate)).astype(np.float32)
            feeds = model.frontend.features(list(noise))
            runners = {key: lambda item, b=b, graph=graph: b.run(graph, item) for key, b in backends.items()}
            times = interleaved(runners, [feeds], ROUNDS)
            for name in FILES:
                of_float = times[name, "float32"]
                # Round by round, so that a slow one is slow for both.
                ratios = {
                    form: [f / s for f, s in zip(of_float, taken, strict=True)]
                    for (of, form), taken in times.items()
                    if of == name
                }
                speeds = {form: round(statistics.median(values), 4) for form, values in ratios.items()}
                case = {"model": run.name, "graph": graph, "runtime": name, "seconds": seconds, "batch": batch}
                rows.append(case | {"speeds": speeds})
                head = [f"{run.name}, {name}, {seconds} s, batch {batch}", "speed"]
                print(table(head, [[form, f"{speed:.2f}"] for form, speed in speeds.items()]), flush=True)
    result = {
        "machine": machine(),
        "runtimes": [RUNTIMES[name]({}).name for name in FILES],
        "rounds": ROUNDS,
        "rows": rows,
    }
    result_file("forms").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
