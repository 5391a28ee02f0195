"""What this processor's int8 and float kernels allow at the model's own shapes, and how near the whole model comes.

    python bench/roofline.py build/bench/moonshine-tiny-planes [--checkpoint MODEL] [--seconds 10]

Every linear layer and convolution of the first graph (of a seq2seq model its encoder) is timed in a graph of its own, in float
and in int8 as the plan has it, in every runtime. The bound is Amdahl's: each of them at the fastest of these, everything else as
long as it takes in the fastest float model. One thread, batch 1. Writes bench/results/roofline.json.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does

import numpy as np  # noqa: E402
import torch  # noqa: E402
from where import result_file  # noqa: E402

from stablequant.export.targets import recipe_for  # noqa: E402
from stablequant.export.writer import to_onnx  # noqa: E402
from stablequant.jobs.serve import open_plan  # noqa: E402
from stablequant.measure.latency import interleaved  # noqa: E402
from stablequant.network.execute import Executor  # noqa: E402
from stablequant.network.graph import Graph, Input, Node  # noqa: E402
from stablequant.quantize.plan import Scheme  # noqa: E402
from stablequant.report.tables import table  # noqa: E402
from stablequant.runtime.processor import machine  # noqa: E402
from stablequant.runtime.registry import RUNTIMES, installed  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 15
Shape = tuple[int, ...]


def feeds(frontend: Any, seconds: float) -> dict[str, Any]:
    """Noise as the model wants it."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(int(seconds * frontend.sampling_rate))
    return dict(frontend.features([noise.astype(np.float32)]))


def input_shapes(graph: Graph, values: Mapping[str, Any]) -> dict[str, Shape]:
    """Shape of the first input of every operation with an int8 form."""
    found: dict[str, Shape] = {}

    def note(node: Node, inputs: Any, weights: Any, lengths: Any) -> Any:
        found[node.name] = tuple(inputs[0].shape)
        return inputs, weights

    Executor(graph).run({name: torch.from_numpy(value) for name, value in values.items()}, note)
    return found


def alone(graph: Graph, node: Node, shape: Shape) -> Graph:
    """A graph of this one operation, for inputs of the rank of ``shape``."""
    single = Graph("op", graph.weights)
    free = [f"axis{i}" for i in range(len(shape) - 1)]
    single.inputs.append(Input("x", "float32", (*free, shape[-1])))
    single.nodes.append(replace(node, inputs=("x",), lengths=""))
    single.output(node.outputs[0], "y", [f"out{i}" for i in range(len(shape))])
    return single


def operations(graph: Graph, node: Node, shape: Shape) -> int:
    """Multiplications and additions of one product, whatever number of planes carries it."""
    weight = graph.weights[node.weights["weight"]]
    steps = int(np.prod(shape[:-1]))
    if node.kind == "conv1d":
        a = node.attrs
        steps = (shape[1] + 2 * a["padding"] - a["trim"] - a["kernel"]) // a["stride"] + 1
    return 2 * steps * weight.numel()


def times(graph: Graph, scheme: Scheme, values: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """Fewest seconds of ``graph`` in float and in int8, in each runtime, all in turns: other work on the machine is no limit."""
    recognisers, names = {}, {}
    for runtime in installed():
        for kind, chosen in (("float", {}), ("int8", scheme)):
            proto = to_onnx(graph, chosen, recipe_for(runtime))
            backend = RUNTIMES[runtime]({"g": proto.SerializeToString()}, threads=1)
            label = f"{kind}, {runtime}"
            names[label] = (kind, runtime)
            recognisers[label] = lambda item, b=backend: b.run("g", item)
    measured = interleaved(recognisers, [values], ROUNDS)
    return {names[label]: min(seconds) for label, seconds in measured.items()}


def fastest(found: Mapping[tuple[str, str], float], *kinds: str) -> float:
    """The best of these kinds over all runtimes."""
    return min(seconds for (kind, _), seconds in found.items() if kind in kinds)


def kind_of(node: Node) -> str:
    """What a row of the table stands for."""
    if node.kind != "conv1d":
        return "linear"
    return "convolution in groups" if node.attrs["groups"] > 1 else "convolution"


def by_kind(graph: Graph, scheme: Scheme, shapes: Mapping[str, Shape]) -> list[dict[str, Any]]:
    """Rows of the table: operations of one kind, their kernels' times and rates."""
    known: dict[Any, dict[tuple[str, str], float]] = {}
    sums: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"ops": 0, "operations": 0, "float": 0.0, "int8": 0.0, "allowed": 0.0}
    )
    for node in graph.quantisable():
        shape, grid = shapes[node.name], scheme.get(node.name, ())
        key = (
            shape,
            tuple(graph.weights[node.weights["weight"]].shape),
            node.kind,
            str(node.attrs),
            [g.planes for g in grid],
        )
        if str(key) not in known:
            x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            known[str(key)] = times(alone(graph, node, shape), {node.name: grid} if grid else {}, {"x": x})
        found, row = known[str(key)], sums[kind_of(node)]
        row["ops"] += 1
        row["operations"] += operations(graph, node, shape)
        row["float"] += fastest(found, "float")
        row["int8"] += fastest(found, "int8")
        row["allowed"] += fastest(found, "float", "int8")
    return [
        {
            "kind": kind,
            "ops": r["ops"],
            "gop": round(r["operations"] / 1e9, 4),
            "float_ms": round(1e3 * r["float"], 3),
            "int8_ms": round(1e3 * r["int8"], 3),
            "allowed_ms": round(1e3 * r["allowed"], 3),
            "float_gop_per_second": round(r["operations"] / 1e9 / r["float"], 1),
            "int8_gop_per_second": round(r["operations"] / 1e9 / r["int8"], 1),
        }
        for kind, r in sums.items()
    ]


def summary(rows: Sequence[Mapping[str, Any]], whole: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    """The bound, and the share of it that the best int8 file reaches."""
    in_float = 1e3 * fastest(whole, "float")
    int8 = 1e3 * fastest(whole, "int8")
    rest = max(0.0, in_float - sum(r["float_ms"] for r in rows))
    bound = rest + sum(r["allowed_ms"] for r in rows)
    return {
        "float_ms": round(in_float, 3),
        "int8_ms": round(int8, 3),
        "rest_ms": round(rest, 3),
        "bound_ms": round(bound, 3),
        "bound": round(in_float / bound, 4),
        "speedup": round(in_float / int8, 4),
        "share_of_bound": round(bound / int8, 4),
        "runtimes_ms": {f"{kind}, {runtime}": round(1e3 * s, 3) for (kind, runtime), s in whole.items()},
    }


def main() -> None:
    """Measure the kernels and the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished stablequant quantize")
    parser.add_argument("--checkpoint", default="", help="where the float checkpoint is now")
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    plan, model = open_plan(arguments.run, arguments.checkpoint)
    graph, scheme = model.graphs[0], plan.scheme()
    values = feeds(model.frontend, arguments.seconds)
    rows = by_kind(graph, scheme, input_shapes(graph, values))
    result = {
        "model": arguments.run.name,
        "graph": graph.name,
        "seconds": arguments.seconds,
        "rounds": ROUNDS,
        "machine": machine(),
        "runtimes": [RUNTIMES[runtime]({}).name for runtime in installed()],
        "rows": rows,
        **summary(rows, times(graph, scheme, values)),
    }
    result_file("roofline").write_text(json.dumps(result, indent=1) + "\n")
    head = ["kind", "ops", "GOP", "float ms", "int8 ms", "float GOP/s", "int8 GOP/s"]
    keys = ("kind", "ops", "gop", "float_ms", "int8_ms", "float_gop_per_second", "int8_gop_per_second")
    print(table(head, [[str(r[k]) for k in keys] for r in rows]))
    print({k: v for k, v in result.items() if k not in ("rows", "machine")})


if __name__ == "__main__":
    main()
