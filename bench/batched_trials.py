"""Whether several trials stacked in the batch dimension of one forward pass are faster than one after another.

    python bench/batched_trials.py [MODEL ...]

From the middle of the network on, four trials one by one against four stacked, one thread, in turns; and whether the results
are the same to the last bit. Writes bench/results/batched_trials.json.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
import numpy as np
import torch
from result_path import save
from tables import batched_trials

from stablequant.families.checkpoint import load
from stablequant.measure.latency import interleaved
from stablequant.network.execute import Executor
from stablequant.quantize.simulate import Simulator

TRIALS, ROUNDS = 4, 7
#: Seconds and utterances of a batch.
BATCHES = ((2, 1), (2, 4), (4, 10), (10, 4))
#: Their outputs have no batch dimension.
WITHOUT_BATCH = {"rotary_tables", "relative_bias"}


def times(executor: Executor, state: dict[str, Any], stacked: dict[str, Any], middle: int) -> dict[str, float]:
    """Median seconds of the second half of the network for all trials."""

    def one_by_one(_: Any) -> None:
        for _ in range(TRIALS):
            executor.run(state, start=middle)

    ways = {"one by one": one_by_one, "stacked": lambda _: executor.run(stacked, start=middle)}
    return {way: statistics.median(taken) for way, taken in interleaved(ways, [None], ROUNDS).items()}


def main() -> None:
    """Time both ways."""
    parser = inputs.arguments_of(__doc__)
    parser.add_argument("models", nargs="*", default=[inputs.MOONSHINE, inputs.GRAFT])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    rows = []
    for folder in arguments.models:
        model = load(folder)
        executor = Simulator(model).executors[model.graphs[0].name]
        graph = executor.graph
        middle = len(graph.nodes) // 2
        shared = {output for node in graph.nodes if node.kind in WITHOUT_BATCH for output in node.outputs}
        for seconds, utterances in BATCHES:
            sounds = [0.05 * random.standard_normal(16000 * seconds).astype(np.float32) for _ in range(utterances)]
            values = {k: torch.from_numpy(v) for k, v in model.frontend.features(sounds).feeds.items()}
            state = executor.run(values, stop=middle)
            stacked = {k: v if k in shared else torch.cat([v] * TRIALS) for k, v in state.items()}
            taken = times(executor, state, stacked, middle)
            one, many = executor.run(state, start=middle), executor.run(stacked, start=middle)
            rows.append(
                {
                    "model": Path(folder).name,
                    "seconds": seconds,
                    "utterances": utterances,
                    "speedup": round(taken["one by one"] / taken["stacked"], 3),
                    "equal": all(torch.equal(one[k], many[k][:utterances]) for k in graph.outputs),
                }
            )
    print(batched_trials.table(save("batched_trials", {"trials": TRIALS, "rounds": ROUNDS, "rows": rows})))


if __name__ == "__main__":
    main()
