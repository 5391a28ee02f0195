"""A plan in int8 on a GPU, beside float32 and bfloat16 of the same graph in the same PyTorch.

    python bench/gpu.py demo-out --seconds 10 --batch 1,32,128

The first graph alone (the whole network of a CTC model, the encoder of others), noise as audio, in turns. Writes
bench/results/gpu.json with the card's name. Without a GPU it says so and writes nothing; --device cpu tries the paths out.
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
import numpy as np
import torch
from result_path import save

from stablequant.jobs.open import open_plan, planned_weights
from stablequant.measure.latency import interleaved
from stablequant.network.execute import TorchBackend
from stablequant.quantize.simulate import Simulator
from stablequant.report.tables import table
from stablequant.runtime.torch_int8 import TorchInt8Backend


def main() -> None:
    """Time the three."""
    parser = inputs.arguments_of(__doc__)
    inputs.add_run(parser)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch", default="1,32,128")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    device = arguments.device
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("no GPU here: not measured")
    plan, model = open_plan(arguments.run, arguments.checkpoint)
    simulator = Simulator(model)
    simulator.to(device)
    weights = planned_weights(arguments.run, plan, model)
    int8, plain = TorchInt8Backend(model, plan.scheme(), device=device, weights=weights), simulator.backend({})
    first, random = model.graphs[0].name, np.random.default_rng(0)

    def run(backend: TorchBackend, dtype: torch.dtype | None, feeds: dict[str, Any]) -> None:
        with torch.autocast(device, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            backend.run(first, feeds)
        if device == "cuda":
            torch.cuda.synchronize()

    ways = {"float32": (plain, None), "bfloat16": (plain, torch.bfloat16), "int8": (int8, None)}
    rows = []
    for batch in map(int, arguments.batch.split(",")):
        samples = int(arguments.seconds * model.frontend.sampling_rate)
        sounds = [0.05 * random.standard_normal(samples).astype(np.float32) for _ in range(batch)]
        feeds = {name: plain.put(value) for name, value in model.frontend.features(sounds).feeds.items()}
        calls = {name: lambda _, way=way, feeds=feeds: run(*way, feeds) for name, way in ways.items()}
        times = interleaved(calls, [None], arguments.rounds)
        medians = {name: 1e3 * statistics.median(t) for name, t in times.items()}
        rows.append({"batch": batch, "seconds": arguments.seconds, "milliseconds": medians})
    cells = [
        [str(r["batch"]), *(f"{r['milliseconds'][n]:.2f}" for n in ways)]
        + [f"{r['milliseconds'][n] / r['milliseconds']['int8']:.2f}" for n in ("float32", "bfloat16")]
        for r in rows
    ]
    print(table(["batch", *(f"{n}, ms" for n in ways), "over float32", "over bfloat16"], cells))
    if device == "cuda":
        card = torch.cuda.get_device_name()
        save("gpu", {"model": plan.model.name, "card": card, "rounds": arguments.rounds, "rows": rows})


if __name__ == "__main__":
    main()
