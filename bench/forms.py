"""What each form of the graph is worth in ONNX Runtime: files written with one form after another, timed in turns.

    python bench/forms.py build/bench/moonshine-tiny-planes build/bench/wavlm-graft

The first graph of each run (of a seq2seq model its encoder), one thread. Writes bench/results/forms.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does

import numpy as np  # noqa: E402

from stablequant.export import attention, onnx  # noqa: E402
from stablequant.export.recipe import RECIPES  # noqa: E402
from stablequant.models.model import SpeechModel  # noqa: E402
from stablequant.quantize.plan import Plan  # noqa: E402
from stablequant.report.tables import table  # noqa: E402
from stablequant.runtime.latency import interleaved  # noqa: E402
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend  # noqa: E402
from stablequant.runtime.processor import machine  # noqa: E402
from stablequant.serve import open_plan  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 15
#: Seconds of audio, and recordings at a time.
CASES = ((2, 1), (10, 1), (10, 8))


def files(plan: Plan, model: SpeechModel) -> Iterator[tuple[str, bytes]]:
    """The graph in float, then in int8 with no form, and with one more each time."""
    recipe, scheme, graph = RECIPES["onnxruntime"], plan.scheme(), model.graphs[0]
    plain = replace(recipe, float_convolutions=False)
    added = mock.patch.object(attention, "_brings_padding", lambda w, product: False)
    no_windows = mock.patch.object(onnx, "LONGEST_WINDOW", 0)
    for name, chosen, form, without in (
        ("float32", {}, recipe, ()),
        ("int8, as for other targets, mask added", scheme, plain, (added,)),
        ("planes added before one convolution", scheme, recipe, (added, no_windows)),
        ("mask in the product", scheme, recipe, (no_windows,)),
        ("convolutions in windows", scheme, recipe, ()),
    ):
        with ExitStack() as stack:
            for patch in without:
                stack.enter_context(patch)
            yield name, onnx.to_onnx(graph, chosen, form).SerializeToString()


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
        backends = {name: OnnxRuntimeBackend({graph: file}, threads=1) for name, file in files(plan, model)}
        for seconds, batch in CASES:
            noise = 0.1 * np.random.default_rng(0).standard_normal((batch, seconds * rate)).astype(np.float32)
            feeds = model.frontend.features(list(noise))
            runners = {n: lambda item, b=b, graph=graph: b.run(graph, item) for n, b in backends.items()}
            times = interleaved(runners, [feeds], ROUNDS)
            # Round by round, so that a slow one is slow for both.
            ratios = {n: [f / s for f, s in zip(times["float32"], taken, strict=True)] for n, taken in times.items()}
            speeds = {name: round(statistics.median(values), 4) for name, values in ratios.items()}
            rows.append({"model": run.name, "graph": graph, "seconds": seconds, "batch": batch, "speeds": speeds})
            print(
                table(
                    [f"{run.name}, {seconds} s, batch {batch}", "speed"], [[n, f"{s:.2f}"] for n, s in speeds.items()]
                )
            )
    result = {"machine": machine(), "runtime": OnnxRuntimeBackend({}).name, "rounds": ROUNDS, "rows": rows}
    (ROOT / "bench" / "results" / "forms.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
