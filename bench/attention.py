"""Attention's two products in int8, or fused, beside float: would it pay on long audio?

    python bench/attention.py [--seconds 10 30]

Self-attention of one layer between its projections, as the files have it (export/emitters/attention.py), in the shapes of
wav2vec2-base and HuBERT-large. In int8 rows of queries, keys and the softmax have a scale a row, values one a channel. The fused
form is ONNX Runtime's MultiHeadAttention in float, which the files have. Random values, one thread; seconds are those that this
process computes. Writes bench/results/attention.json, anew after each case.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
from inputs import arguments_of
from result_path import save
from tables import attention as table

from stablequant.export.emitters import EMITTERS
from stablequant.export.emitters import attention as emitter
from stablequant.export.targets import TARGETS, Target
from stablequant.export.translate import to_onnx
from stablequant.export.writer import Writer
from stablequant.families import blocks
from stablequant.grid.affine import QuantParams
from stablequant.grid.frame import SMALLEST_MAXIMUM, PerFrame
from stablequant.measure.latency import interleaved
from stablequant.network.graph import Graph, Node
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.registry import RUNTIMES

ROUNDS = 5
#: Both products by themselves.
PLAIN = {name: replace(TARGETS[name], attention_kernel=False) for name in ("onnxruntime", "openvino")}
HEADS = {"wav2vec2-base": 12, "HuBERT-large": 16}
SIZE = 64
#: Frames a second, and how many a recording has less.
RATE, LESS = 50, 1
#: Rows of a softmax are never negative: all codes are above the zero point.
SHARES = PerFrame(shift=0.0).unit
SIGNED = PerFrame().unit
NAMES = ("q", "k", "v")


def attention(heads: int) -> Graph:
    """One layer's attention, of three projections ``[B, T, C]``."""
    g = Graph("case", {})
    lengths = g.input("lengths", "int64", ("batch",))
    q, k, v = (
        g.add("split_heads", g.input(name, "float32", ("batch", "frames", heads * SIZE)), heads=heads) for name in NAMES
    )
    g.output(blocks.attend(g, q, k, v, lengths, "a", scale=SIZE**-0.5), "y", ("batch", "frames", heads * SIZE))
    return g


def rounded(w: Writer, value: str, axis: int, grid: QuantParams) -> tuple[str, str]:
    """``value`` over its largest magnitudes along an axis, rounded, and those."""
    axes = w.constant([axis])
    highest = w.op("ReduceMax", value, axes, keepdims=1)
    both = [highest] if grid is SHARES else [highest, w.op("Neg", w.op("ReduceMin", value, axes, keepdims=1))]
    largest = w.op("Max", *both, w.constant(float(np.float32(SMALLEST_MAXIMUM))))
    return w.activation(w.op("Div", value, largest), grid), largest


def scores_in_int8(w: Writer, node: Node) -> None:
    """Of queries and keys, both with a scale a row; padding is added to the scores."""
    (q, rows), (k, columns) = (rounded(w, value, -1, SIGNED) for value in node.inputs)
    product = w.op("MatMul", q, w.op("Transpose", k, perm=[0, 1, 3, 2]))
    scaled = w.op("Mul", product, w.op("Mul", rows, w.constant(float(node.attrs["scale"]))))
    w.op("Mul", scaled, w.op("Transpose", columns, perm=[0, 1, 3, 2]), out=node.outputs[0])


def context_in_int8(w: Writer, node: Node) -> None:
    """Of shares with a scale a row, and values with one a channel."""
    shares, rows = rounded(w, node.inputs[0], -1, SHARES)
    values, columns = rounded(w, node.inputs[1], 2, SIGNED)
    w.op("Mul", w.op("Mul", w.op("MatMul", shares, values), rows), columns, out=node.outputs[0])


def written(graph: Graph, target: Target, scores: bool, context: bool) -> bytes:
    """The file with these products in int8."""
    plain = EMITTERS["matmul"]

    def either(w: Writer, node: Node) -> None:
        first = node.attrs["transpose"]
        chosen = scores_in_int8 if first and scores else context_in_int8 if not first and context else plain
        chosen(w, node)

    brings = emitter._brings_padding
    with (
        mock.patch.dict(EMITTERS, {"matmul": either}),
        mock.patch.object(emitter, "_brings_padding", lambda w, node: not scores and brings(w, node)),
    ):
        return to_onnx(graph, {}, WeightStore({}), target).SerializeToString()


def forms(heads: int) -> dict[tuple[str, str], bytes]:
    """Files by runtime and form."""
    graph, found = attention(heads), {}
    for runtime in ("onnxruntime", "openvino"):
        for label, scores, context in (
            ("float", False, False),
            ("q k in int8", True, False),
            ("softmax v in int8", False, True),
            ("both in int8", True, True),
        ):
            found[runtime, label] = written(graph, PLAIN[runtime], scores, context)
    return {**found, ("onnxruntime", "float, fused"): written(graph, TARGETS["onnxruntime"], False, False)}


def case(heads: int, seconds: float) -> list[dict[str, Any]]:
    """Speeds of every form against float in the same runtime, and how far from float the result is."""
    frames, rng = int(RATE * seconds) - LESS, np.random.default_rng(0)
    feeds = {name: rng.standard_normal((1, frames, heads * SIZE)).astype(np.float32) for name in NAMES}
    feeds["lengths"] = np.array([frames])
    backends = {key: RUNTIMES[key[0]]({"case": file}, threads=1) for key, file in forms(heads).items()}
    exact = backends["onnxruntime", "float"].run("case", feeds)["y"]
    runners: dict[Any, Callable[[Any], object]] = {
        key: lambda item, b=b: b.run("case", item)  # type: ignore[misc]
        for key, b in backends.items()
    }
    times = interleaved(runners, [feeds], ROUNDS, time.process_time)
    rows = []
    for (runtime, label), taken in times.items():
        ratios = [f / t for f, t in zip(times[runtime, "float"], taken, strict=True)]
        off = backends[runtime, label].run("case", feeds)["y"] - exact
        rows.append(
            {
                "runtime": runtime,
                "form": label,
                "milliseconds": round(1e3 * statistics.median(taken), 2),
                "speed": [round(value, 3) for value in (statistics.median(ratios), min(ratios), max(ratios))],
                "error": float(f"{np.sqrt((off**2).mean() / (exact**2).mean()):.2e}"),
            }
        )
    return rows


def main() -> None:
    """Measure every model and length."""
    parser = arguments_of(__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 30.0])
    arguments = parser.parse_args()
    result: dict[str, Any] = {"runtimes": [RUNTIMES[r]({}).name for r in ("onnxruntime", "openvino")], "rounds": ROUNDS}
    cases, saved = [], ""
    for name, heads in HEADS.items():
        for seconds in arguments.seconds:
            cases.append({"model": name, "seconds": seconds, "rows": case(heads, seconds)})
            saved = save("attention", {**result, "cases": cases}, timed=True)
    print(table.table(saved))


if __name__ == "__main__":
    main()
