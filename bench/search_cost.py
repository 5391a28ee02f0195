"""What the search costs without shortcuts, with the exact ones, and as a race; and whether all three decide alike.

    python bench/search_cost.py wavlm-graft --workers 2
    python bench/search_cost.py moonshine-tiny --workers 2 --set beyond_chance=true --naive-utterances 32

Cost is counted in evaluations of the float model on the dev speech (in multiplications) and in seconds of computation.
Writes bench/results/search_cost.json, one entry a model. The naive search of a large model takes hours, so it may be
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

from stablequant import pipeline  # noqa: E402
from stablequant.cli.console import ProgressLine  # noqa: E402
from stablequant.config import Settings  # noqa: E402
from stablequant.data.speech import Speech  # noqa: E402
from stablequant.models.load import load  # noqa: E402
from stablequant.observe.collect import observe  # noqa: E402
from stablequant.quantize.simulate import Simulator  # noqa: E402
from stablequant.report.summary import machine  # noqa: E402
from stablequant.report.tables import table  # noqa: E402
from stablequant.search.journal import Journal  # noqa: E402
from stablequant.search.naive import NaiveTrials  # noqa: E402
from stablequant.search.stages import Found, search  # noqa: E402
from stablequant.search.trials import Trials  # noqa: E402
from stablequant.search.workers import LocalPool  # noqa: E402

RESULT = ROOT / "bench" / "results" / "search_cost.json"


def main() -> None:
    """Run the three searches on one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings")
    parser.add_argument("--speech", action="append", default=[], metavar="SET", help="default: all four")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--naive-utterances", type=int, default=0, help="of the dev speech; default: all")
    arguments = parser.parse_args()
    settings = Settings.parse(dict(pair.split("=", 1) for pair in arguments.settings))
    work = ROOT / "build" / "bench" / "search_cost" / arguments.model
    work.mkdir(parents=True, exist_ok=True)
    model = load(str(ROOT / MODELS[arguments.model]))
    speech = pipeline.read_speech(
        model.frontend, manifests(ROOT / "build" / "bench" / "manifests", arguments.speech), settings
    )
    calibration, dev = speech["calibration"], speech["dev"]
    histograms = observe(model, [calibration.batch(s) for s in calibration.shards], matmuls=settings.attention_matmuls)
    pool = LocalPool(arguments.workers)

    def run(kind: type[Trials], part: Speech, mode: str, name: str) -> tuple[Found, dict[str, Any]]:
        chosen = settings.model_copy(update={"search": mode})
        simulator = Simulator.under(model, settings)
        path = None if kind is NaiveTrials else work / f"{name}.sqlite"
        with Journal(path) as journal:
            began = time.perf_counter()
            found = search(kind(simulator, part, chosen, journal, ProgressLine(), pool), histograms, chosen)
            wall = time.perf_counter() - began
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
        }

    exact, exact_row = run(Trials, dev, "exact", "exact")
    raced, raced_row = run(Trials, dev, "racing", "racing")
    count = arguments.naive_utterances
    part = dev
    if count:
        chosen = np.sort(np.random.default_rng(settings.seed).permutation(len(dev.utterances))[:count])
        part = dev.part(chosen.tolist(), settings.batch_size, settings.batch_seconds)
    naive, naive_row = run(NaiveTrials, part, "exact", "naive")
    same_part, part_row = run(Trials, part, "exact", "exact-part") if count else (exact, exact_row)

    finished = {"exact": exact, "racing": raced}
    chosen_wer = {n: min(t.wer for t in f.percentiles.trials if t.heard == 1) for n, f in finished.items()}
    words = exact.reference.result.total_words
    result = {
        "naive": naive_row | {"evaluations": exact.spent.naive, "measured": naive_row["evaluations"]},
        "exact": exact_row
        | {
            "identical": replace(same_part, spent=naive.spent) == naive,
            "identical_on_utterances": len(part.utterances),
            "on_the_same_speech_as_naive": part_row,
            "wer": round(chosen_wer["exact"], 4),
        },
        "racing": raced_row
        | {
            "same_flagged": raced_row["flagged"] == exact_row["flagged"],
            "wer": round(chosen_wer["racing"], 4),
            "heard_in_stage_1": round(float(np.mean([layer.heard for layer in raced.layers])), 3),
        },
        "words": words,
        "float_wer": round(exact.reference.result.wer, 4),
        "settings": dict(pair.split("=", 1) for pair in arguments.settings),
        "command": shlex.join(["python", "bench/search_cost.py", *sys.argv[1:]]),
        "machine": machine(),
    }
    known = json.loads(RESULT.read_text()) if RESULT.is_file() else {"models": {}}
    known["models"][arguments.model] = result
    RESULT.write_text(json.dumps(known, indent=1) + "\n")
    cells = [
        [
            name,
            f"{result[name]['evaluations']:.1f}",
            f"{result[name]['evaluations'] / exact.spent.naive:.3f}",
            f"{result[name]['seconds']:.0f}",
            str(result[name]["utterances"]),
            str(len(result[name]["flagged"])),
            f"{result[name]['p']}",
        ]
        for name in ("naive", "exact", "racing")
    ]
    print(table(["search", "evaluations", "of naive", "seconds", "utterances", "flagged", "p"], cells))
    print(
        f"exact identical to naive: {result['exact']['identical']}; flagged alike: {result['racing']['same_flagged']}"
    )


if __name__ == "__main__":
    main()
