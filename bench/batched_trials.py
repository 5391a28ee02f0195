"""Whether several trials that ride the batch dimension of one forward are faster than one after another.

    python bench/batched_trials.py

From the middle of the network on, four trials apart against four stacked, one thread, interleaved; and whether the
results are the same to the last bit. Writes bench/results/riding.json.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import torch
from methods import MODELS, ROOT

from stablequant.families.checkpoint import load
from stablequant.measure.latency import interleaved
from stablequant.quantize.simulate import Simulator
from stablequant.report.summary import machine
from stablequant.report.tables import table

TRIALS, RUNS = 4, 7
#: Seconds and utterances of a batch.
BATCHES = ((2, 1), (2, 4), (4, 10), (10, 4))
#: Their outputs have no batch dimension.
SHARED = {"rotary_tables", "relative_bias"}


def main() -> None:
    """Time both ways."""
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    rows = []
    for name, folder in MODELS.items():
        model = load(str(ROOT / folder))
        executor = Simulator(model).executors[model.graphs[0].name]
        middle = len(executor.graph.nodes) // 2
        shared = {output for node in executor.graph.nodes if node.kind in SHARED for output in node.outputs}
        for seconds, utterances in BATCHES:
            sounds = [0.05 * random.standard_normal(16000 * seconds).astype(np.float32) for _ in range(utterances)]
            values = {k: torch.from_numpy(v) for k, v in model.frontend.features(sounds).items()}
            state = executor.run(values, stop=middle)
            stacked = {k: v if k in shared else torch.cat([v] * TRIALS) for k, v in state.items()}

            ways = {"apart": (TRIALS, state), "together": (1, stacked)}

            def run(way: str, ways=ways, executor=executor, middle=middle) -> None:  # type: ignore[no-untyped-def]
                times, start = ways[way]
                for _ in range(times):
                    executor.run(start, start=middle)

            times = interleaved({way: lambda _, way=way, run=run: run(way) for way in ways}, [None], RUNS)
            one, many = executor.run(state, start=middle), executor.run(stacked, start=middle)
            rows.append(
                {
                    "model": name,
                    "seconds": seconds,
                    "utterances": utterances,
                    "speedup": round(statistics.median(times["apart"]) / statistics.median(times["together"]), 3),
                    "equal": all(torch.equal(one[k], many[k][:utterances]) for k in executor.graph.outputs),
                }
            )
    result = {"trials": TRIALS, "rows": rows, "machine": machine()}
    Path(ROOT / "bench" / "results" / "riding.json").write_text(json.dumps(result, indent=1) + "\n")
    cells = [
        [r["model"], f"{r['utterances']} of {r['seconds']} s", f"{r['speedup']:.2f}", str(r["equal"])] for r in rows
    ]
    print(table(["model", "batch", "speed of riding", "equal"], cells))


if __name__ == "__main__":
    main()
