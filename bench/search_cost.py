"""What the search costs without shortcuts, with the exact ones, and as a race; and whether all three decide alike.

    python bench/search_cost.py wavlm-graft --workers 2
    python bench/search_cost.py moonshine-tiny --workers 2 --set beyond_chance=true --naive-utterances 32

Cost is counted in evaluations of the float model on the dev speech (in multiplications) and in seconds of computation.
Writes bench/results/search_cost.json, one entry a model; --searches runs some of the three again and leaves the rows of
the others, which is right as long as what they do has not changed. The naive search of a large model takes hours, so it may be
given a part of the dev speech; the exact search is run on the same part, and the two must agree to the last bit.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from dataclasses import replace
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does

import numpy as np  # noqa: E402
from methods import MODELS, ROOT, manifests  # noqa: E402

from stablequant.cli.console import ProgressLine  # noqa: E402
from stablequant.data.speech import Speech  # noqa: E402
from stablequant.families.checkpoint import load  # noqa: E402
from stablequant.jobs import quantize  # noqa: E402
from stablequant.observe.collect import observe  # noqa: E402
from stablequant.quantize import calibrated  # noqa: E402
from stablequant.quantize.simulate import Simulator  # noqa: E402
from stablequant.report.summary import machine  # noqa: E402
from stablequant.report.tables import table  # noqa: E402
from stablequant.search.journal import Journal  # noqa: E402
from stablequant.search.naive import NaiveTrials  # noqa: E402
from stablequant.search.pools import LocalPool  # noqa: E402
from stablequant.search.stages import Found, search  # noqa: E402
from stablequant.search.trials import Candidate, Trials  # noqa: E402
from stablequant.settings import Settings  # noqa: E402
from stablequant.tasks.bootstrap import paired_bootstrap  # noqa: E402

RESULT = ROOT / "bench" / "results" / "search_cost.json"


def main() -> None:
    """Run the three searches on one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings")
    parser.add_argument("--speech", action="append", default=[], metavar="SET", help="default: all four")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--searches", default="exact,racing,naive", help="some of these, with commas")
    parser.add_argument("--naive-utterances", type=int, default=0, help="of the dev speech; default: all")
    arguments = parser.parse_args()
    searches = arguments.searches.split(",")
    settings = Settings.parse(dict(pair.split("=", 1) for pair in arguments.settings))
    work = ROOT / "build" / "bench" / "search_cost" / arguments.model
    work.mkdir(parents=True, exist_ok=True)
    model = load(str(ROOT / MODELS[arguments.model]))
    speech = quantize.read_speech(
        model.frontend, manifests(ROOT / "build" / "bench" / "manifests", arguments.speech), settings
    )
    calibration, dev = speech["calibration"], speech["dev"]
    histograms = observe(model, [calibration.waveforms_of(s) for s in calibration.batches], matmuls=settings.attention_matmuls)
    pool = LocalPool(arguments.workers)
    results = json.loads(RESULT.read_text()) if RESULT.is_file() else {"models": {}}
    result: dict[str, Any] = results["models"].setdefault(arguments.model, {})

    def run(kind: type[Trials], part: Speech, mode: str, name: str) -> tuple[Found, dict[str, Any]]:
        chosen = settings.model_copy(update={"search": mode})
        with Journal(None if kind is NaiveTrials else work / f"{name}.sqlite") as journal:
            trials = kind(Simulator.under(model, settings), part, chosen, journal, ProgressLine(), pool)
            began = time.perf_counter()
            found = search(trials, histograms, chosen)
            wall = time.perf_counter() - began
            plans = {"this": found.scheme}
            if mode == "racing":
                base = calibrated.uniform(histograms, settings.base_calibrator, settings)
                p = calibrated.same_p(result["exact"]["flagged"], result["exact"]["p"])
                plans["exact"] = calibrated.mixed(base, histograms, p, settings)
            outcomes = trials.run([Candidate(n, s) for n, s in plans.items()], "the plan", base=found.scheme)
        difference = paired_bootstrap(outcomes[-1].result, outcomes[0].result)
        spent = found.spent
        return found, {
            "evaluations": round(spent.evaluations, 2),
            "stage_1": round(spent.stage_1, 2),
            "stage_2": round(spent.stage_2, 2),
            "seconds": round(spent.seconds, 1),
            "wall_seconds_this_run": round(wall, 1),
            "flagged": [layer.name for layer in found.layers if layer.flagged],
            "p": next(iter(found.percentiles.p.values()), None),
            "utterances": len(part.utterances),
            "audio_seconds": round(part.seconds, 1),
            "wer": round(outcomes[0].result.wer, 4),
            "difference_to_exact": [round(x, 4) for x in (difference.delta, difference.low, difference.high)],
        }

    if "exact" in searches:
        found, row = run(Trials, dev, "exact", "exact")
        result["exact"] = result.get("exact", {}) | row
        result |= {"words": found.reference.result.total_words, "float_wer": round(found.reference.result.wer, 4)}
        result["naive"] = result.get("naive", {}) | {"evaluations": found.spent.naive}
    if "racing" in searches:
        found, row = run(Trials, dev, "racing", "racing")
        heard = round(float(np.mean([layer.heard for layer in found.layers])), 3)
        result["racing"] = row | {
            "same_flagged": row["flagged"] == result["exact"]["flagged"],
            "heard_in_stage_1": heard,
        }
    if "naive" in searches:
        count = arguments.naive_utterances or len(dev.utterances)
        chosen = np.sort(np.random.default_rng(settings.seed).permutation(len(dev.utterances))[:count])
        part = dev.part(chosen.tolist(), settings.batch_size, settings.batch_seconds)
        naive, naive_row = run(NaiveTrials, part, "exact", "naive")
        exact, exact_row = run(Trials, part, "exact", "exact-part")
        result["naive"] = naive_row | {
            "evaluations": result["naive"]["evaluations"],
            "measured": naive_row["evaluations"],
        }
        result["exact"] |= {
            "identical": replace(exact, spent=naive.spent) == naive,
            "identical_on_utterances": len(part.utterances),
            "on_the_same_speech_as_naive": exact_row,
        }
    result["settings"] = dict(pair.split("=", 1) for pair in arguments.settings)
    rest = [a for i, a in enumerate(sys.argv) if i and "--searches" not in (a, sys.argv[i - 1])]
    result["command"] = shlex.join(["python", "bench/search_cost.py", *rest])
    result["machine"] = machine()
    RESULT.write_text(json.dumps(results, indent=1) + "\n")
    cells = [
        [
            name,
            f"{row['evaluations']:.1f}",
            f"{row['evaluations'] / result['naive']['evaluations']:.3f}",
            f"{row['seconds']:.0f}",
            str(len(row["flagged"])),
            f"{row['p']}",
        ]
        for name, row in ((n, result[n]) for n in ("naive", "exact", "racing") if "seconds" in result.get(n, {}))
    ]
    print(table(["search", "evaluations", "of naive", "seconds", "flagged", "p"], cells))


if __name__ == "__main__":
    main()
