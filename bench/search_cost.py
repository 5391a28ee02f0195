"""What the search costs without shortcuts, with the exact ones, and as a race; and whether all three decide alike.

    python bench/search_cost.py tests/assets/wavlm-graft --data examples/asterisk --workers 2
    python bench/search_cost.py examples/moonshine-tiny --workers 2 --set beyond_chance=true --naive-utterances 32

Cost is counted in evaluations of the float model on the dev speech (in multiplications) and in seconds of computation.
Writes bench/results/search_cost.json, one entry a model; --searches runs some of the three again and leaves the rows of
the others, which is right as long as what they do has not changed. The naive search of a large model takes hours, so it may be
given a part of the dev speech; the exact search is run on the same part, and the two must agree to the last bit.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from inputs import WORK, add_data, add_model, add_settings, arguments_of, settings_of, sources
from result_path import load_result, result_path, save
from tables import search_cost

from stablequant.cli.console import ProgressLine
from stablequant.data.speech import Speech
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.jobs.open import simulator
from stablequant.jobs.speech import read_splits
from stablequant.observe.collect import Histograms, observe
from stablequant.quantize import calibrated
from stablequant.runtime.processor import machine
from stablequant.search.journal import Journal
from stablequant.search.naive import NaiveTrials
from stablequant.search.objective import TaskError
from stablequant.search.pools import LocalPool
from stablequant.search.stages import Found, search
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import paired_bootstrap
from stablequant.tasks.task import Task


@dataclass(frozen=True)
class Searches:
    """What every search is given."""

    model: SpeechModel
    task: Task
    histograms: Histograms
    settings: Settings
    pool: LocalPool
    work: Path

    def run(
        self, kind: type[Trials], part: Speech, strategy: str, name: str, exact: dict[str, Any]
    ) -> tuple[Found, dict[str, Any]]:
        """One search of ``part``, and its row; a race's plan is compared with that of ``exact``, the exact search's row."""
        chosen = self.settings.updated(strategy=strategy)
        with Journal(None if kind is NaiveTrials else self.work / f"{name}.sqlite") as journal:
            objective = TaskError(self.task)
            simulated = simulator(self.model, chosen)
            trials = kind(simulated, part, chosen, objective, journal, ProgressLine(), self.pool)
            began = time.perf_counter()
            found = search(trials, self.histograms, chosen)
            wall = time.perf_counter() - began
            plans = {"this": found.scheme}
            if strategy == "racing":
                base = calibrated.uniform(self.histograms, chosen.activations.calibrator, chosen)
                p = calibrated.same_p(exact["flagged"], exact["p"])
                plans["exact"] = calibrated.mixed(base, self.histograms, p, chosen)
            outcomes = trials.run([Candidate(n, s) for n, s in plans.items()], "the plan", base=found.scheme)
        difference = paired_bootstrap(outcomes[-1].score, outcomes[0].score)
        spent = found.spent
        return found, {
            "evaluations": round(spent.evaluations, 2),
            "stage_1": round(spent.stage_1, 2),
            "stage_2": round(spent.stage_2, 2),
            "seconds": round(spent.seconds, 1),
            "wall_seconds_this_run": round(wall, 1),
            "flagged": [layer.name for layer in found.layers if layer.flagged],
            "p": next(iter(found.stage2.p.values()), None),
            "utterances": len(part.utterances),
            "audio_seconds": round(part.seconds, 1),
            "wer": round(outcomes[0].score.rate, 4),
            "difference_to_exact": [round(x, 4) for x in (difference.delta, difference.low, difference.high)],
        }


def measure(searches: Searches, dev: Speech, wanted: list[str], count: int, result: dict[str, Any]) -> None:
    """Run the ``wanted`` searches, the naive one on ``count`` utterances, and put their rows into ``result``."""
    if "exact" in wanted:
        found, row = searches.run(Trials, dev, "exact", "exact", {})
        result["exact"] = result.get("exact", {}) | row
        result |= {"words": int(found.reference.score.total), "float_wer": round(found.reference.score.rate, 4)}
        result["naive"] = result.get("naive", {}) | {"evaluations": found.spent.naive}
    if "racing" in wanted:
        found, row = searches.run(Trials, dev, "racing", "racing", result["exact"])
        result["racing"] = row | {
            "same_flagged": row["flagged"] == result["exact"]["flagged"],
            "share_in_stage_1": round(float(np.mean([layer.share for layer in found.layers])), 3),
        }
    if "naive" in wanted:
        data = searches.settings.data
        chosen = np.sort(np.random.default_rng(data.seed).permutation(len(dev.utterances))[: count or None])
        part = dev.part(chosen.tolist(), data.batch_size, data.batch_seconds)
        naive, naive_row = searches.run(NaiveTrials, part, "exact", "naive", {})
        exact, exact_row = searches.run(Trials, part, "exact", "exact-part", {})
        counted = {"evaluations": result["naive"]["evaluations"], "measured": naive_row["evaluations"]}
        result["naive"] = naive_row | counted
        result["exact"] |= {
            "identical": replace(exact, spent=naive.spent) == naive,
            "identical_on_utterances": len(part.utterances),
            "on_the_same_speech_as_naive": exact_row,
        }


def main() -> None:
    """Run the three searches on one model."""
    parser = arguments_of(__doc__)
    add_model(parser)
    add_data(parser)
    add_settings(parser)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--searches", default="exact,racing,naive", help="some of these, with commas")
    parser.add_argument("--naive-utterances", type=int, default=0, help="of the dev speech; default: all")
    arguments = parser.parse_args()
    settings, name, data = settings_of(arguments), Path(arguments.model).name, sources(arguments)
    model = load(arguments.model)
    speech, task, settings = read_splits(model.frontend, data, settings)
    calibration = speech["calibration"]
    batches = (calibration.waveforms_of(batch) for batch in calibration.batches)
    histograms = observe(model, batches, matmuls=settings.activations.attention_matmuls)
    work = WORK / "search_cost" / name
    searches = Searches(model, task, histograms, settings, LocalPool(arguments.workers), work)
    results = load_result("search_cost") if result_path("search_cost").is_file() else {"models": {}}
    result = results["models"].setdefault(name, {})
    measure(searches, speech["dev"], arguments.searches.split(","), arguments.naive_utterances, result)
    rest = [a for i, a in enumerate(sys.argv) if i and "--searches" not in (a, sys.argv[i - 1])]
    result |= {
        "data": data,
        "settings": dict(pair.split("=", 1) for pair in arguments.settings),
        "command": shlex.join(["python", "bench/search_cost.py", *rest]),
        "machine": machine(),
    }
    print(search_cost.table(save("search_cost", {"models": results["models"]})))


if __name__ == "__main__":
    main()
