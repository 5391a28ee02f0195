"""How gamma, the step of p, the grid and one p a layer trade words for time: searched on dev speech, told on test speech.

    python bench/search_ablation.py moonshine-tiny --speech asterisk --speech sky --workers 2

All variants share one journal (that of bench/search_cost.py, if it ran with the same speech), so stage 1 is run once.
Writes bench/results/search_ablation-MODEL.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does

from methods import MODELS, ROOT, manifests  # noqa: E402

from stablequant.cli.console import ProgressLine  # noqa: E402
from stablequant.families.checkpoint import load  # noqa: E402
from stablequant.jobs import quantize  # noqa: E402
from stablequant.observe.collect import observe  # noqa: E402
from stablequant.quantize.simulate import Simulator  # noqa: E402
from stablequant.report.summary import machine  # noqa: E402
from stablequant.report.tables import table  # noqa: E402
from stablequant.search.journal import Journal  # noqa: E402
from stablequant.search.pools import LocalPool  # noqa: E402
from stablequant.search.stage2 import choose  # noqa: E402
from stablequant.search.stages import search  # noqa: E402
from stablequant.search.trials import Candidate, Trials  # noqa: E402
from stablequant.settings import Settings  # noqa: E402
from stablequant.tasks.bootstrap import paired_bootstrap  # noqa: E402

VARIANTS: dict[str, dict[str, Any]] = {
    "gamma 0.25; step 0.01": {},
    "gamma 0.25; step 0.05": {"p_step": 0.05},
    "gamma 0.25; step 0.1": {"p_step": 0.1},
    "racing, gamma 0.25; step 0.01": {"search": "racing"},
    "racing, gamma 0.25; step 0.1, one p a layer": {"search": "racing", "p_step": 0.1, "p_per_layer": True},
    "gamma 0.5; step 0.1": {"gamma": 0.5, "p_step": 0.1},
    "gamma 1; step 0.1": {"gamma": 1.0, "p_step": 0.1},
    "gamma 0.25, beyond chance; step 0.1": {"beyond_chance": True, "p_step": 0.1},
    "gamma 0.25; even in scale, as many as step 0.1": {"p_step": 0.1, "grid": "scale"},
}


def main() -> None:
    """Run every variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--speech", action="append", default=[], metavar="SET", help="default: all four")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    model = load(str(ROOT / MODELS[arguments.model]))
    paths = manifests(ROOT / "build" / "bench" / "manifests", arguments.speech)
    speech = quantize.read_speech(model.frontend, paths, Settings())
    calibration = speech["calibration"]
    histograms = observe(model, [calibration.waveforms_of(s) for s in calibration.batches])
    pool, simulator = LocalPool(arguments.workers), Simulator(model)
    work = ROOT / "build" / "bench" / "search_cost" / arguments.model
    rows = []
    with Journal(work / "exact.sqlite") as journal:

        def trials(split: str, settings: Settings) -> Trials:
            return Trials(simulator, speech[split], settings, journal, ProgressLine(), pool)

        (reference,) = trials("test", Settings()).run([Candidate("float", {})], "float on test")
        for name, changes in VARIANTS.items():
            settings = Settings(**changes)
            found = search(trials("dev", settings), histograms, settings)
            (outcome,) = trials("test", settings).run([Candidate(name, found.scheme)], "on test", base=found.scheme)
            best = choose(found.percentiles.trials) if found.percentiles.trials else None
            cost = paired_bootstrap(reference.result, outcome.result)
            rows.append(
                {
                    "variant": name,
                    "settings": changes,
                    "flagged": len(found.percentiles.p),
                    "p": sorted(set(found.percentiles.p.values())),
                    "p_by_layer": dict(found.percentiles.p) if settings.p_per_layer else None,
                    "tried": len(found.percentiles.trials),
                    "evaluations": round(found.spent.evaluations, 1),
                    "dev_wer": None if best is None else round(best.wer, 4),
                    "test_wer": round(outcome.result.wer, 4),
                    "delta": round(cost.delta, 4),
                    "delta_interval": [round(cost.low, 4), round(cost.high, 4)],
                }
            )
            result = {
                "model": arguments.model,
                "speech": arguments.speech or ["all"],
                "dev_words": found.reference.result.total_words,
                "dev_float_wer": round(found.reference.result.wer, 4),
                "test_words": reference.result.total_words,
                "test_float_wer": round(reference.result.wer, 4),
                "rows": rows,
                "command": shlex.join(["python", "bench/search_ablation.py", *sys.argv[1:]]),
                "machine": machine(),
            }
            path = ROOT / "bench" / "results" / f"search_ablation-{arguments.model}.json"
            path.write_text(json.dumps(result, indent=1) + "\n")
    cells = [
        [r["variant"], str(r["flagged"]), str(r["tried"]), f"{r['evaluations']:.1f}", f"{r['test_wer']:.2f}"]
        for r in rows
    ]
    print(table(["variant", "flagged", "p tried", "evaluations", "test WER %"], cells))


if __name__ == "__main__":
    main()
