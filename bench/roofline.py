"""What this processor's int8 and float kernels allow at the model's own shapes, and how near the whole model comes.

    python bench/roofline.py demo-out [--checkpoint MODEL] [--seconds 10]

Every linear layer and convolution of the first graph (of an encoder-decoder model its encoder) is timed in a graph of its own,
in float and in int8 as the plan has it, in every runtime. The bound is Amdahl's: each of them at the fastest of these, everything
else as long as it takes in the fastest float model. One thread, batch 1. Writes bench/results/roofline.json.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
import numpy as np
import torch
from result_path import save
from tables import roofline

from stablequant.export.targets import TARGETS
from stablequant.export.translate import to_onnx
from stablequant.families.frontend import Frontend
from stablequant.jobs.open import open_plan, planned_weights
from stablequant.measure.latency import interleaved
from stablequant.network.execute import Executor
from stablequant.network.graph import Graph, Input, Node
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.registry import RUNTIMES, installed

ROUNDS = 15
Shape = tuple[int, ...]


def feeds(frontend: Frontend, seconds: float) -> dict[str, Any]:
    """Noise as the model wants it."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(int(seconds * frontend.sampling_rate))
    return frontend.features([noise.astype(np.float32)]).feeds


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


def times(
    graph: Graph, scheme: Scheme, weights: WeightStore, values: Mapping[str, Any]
) -> dict[tuple[str, str], float]:
    """Fewest seconds of ``graph`` in float and in int8, in each runtime, all in turns: other work on the machine is no limit."""
    runners, names = {}, {}
    for runtime in installed():
        for kind, chosen in (("float", {}), ("int8", scheme)):
            proto = to_onnx(graph, chosen, weights, TARGETS[runtime])
            backend = RUNTIMES[runtime]({"g": proto.SerializeToString()}, threads=1)
            label = f"{kind}, {runtime}"
            names[label] = (kind, runtime)
            runners[label] = lambda item, b=backend: b.run("g", item)
    measured = interleaved(runners, [values], ROUNDS)
    return {names[label]: min(seconds) for label, seconds in measured.items()}


def fastest(found: Mapping[tuple[str, str], float], *kinds: str) -> float:
    """The best of these kinds over all runtimes."""
    return min(seconds for (kind, _), seconds in found.items() if kind in kinds)


def kind_of(node: Node) -> str:
    """What a row of the table stands for."""
    if node.kind != "conv1d":
        return "linear"
    return "convolution in groups" if node.attrs["groups"] > 1 else "convolution"


def by_kind(graph: Graph, scheme: Scheme, weights: WeightStore, shapes: Mapping[str, Shape]) -> list[dict[str, Any]]:
    """Rows of the table: operations of one kind, their kernels' times and rates."""
    known: dict[str, dict[tuple[str, str], float]] = {}
    sums: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"ops": 0, "operations": 0, "float": 0.0, "int8": 0.0, "allowed": 0.0}
    )
    for node in graph.quantisable():
        shape, layer = shapes[node.name], scheme.get(node.name)
        planes = [grid.planes for grid in layer.activations] if layer else []
        key = str((shape, graph.weights[node.weights["weight"]].shape, node.kind, node.attrs, planes))
        if key not in known:
            x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            known[key] = times(alone(graph, node, shape), {node.name: layer} if layer else {}, weights, {"x": x})
        found, row = known[key], sums[kind_of(node)]
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
    parser = inputs.arguments_of(__doc__)
    inputs.add_run(parser)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    plan, model = open_plan(arguments.run, arguments.checkpoint)
    graph, scheme, weights = model.graphs[0], plan.scheme(), planned_weights(arguments.run, plan, model)
    values = feeds(model.frontend, arguments.seconds)
    rows = by_kind(graph, scheme, weights, input_shapes(graph, values))
    result = {
        "model": arguments.run.name,
        "graph": graph.name,
        "seconds": arguments.seconds,
        "rounds": ROUNDS,
        "runtimes": [RUNTIMES[runtime]({}).name for runtime in installed()],
        "rows": rows,
        **summary(rows, times(graph, scheme, weights, values)),
    }
    print(roofline.table(save("roofline", result, timed=True)))


if __name__ == "__main__":
    main()
