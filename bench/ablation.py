"""The choices the paper leaves open, each measured on the dev speech with the layers that a finished run flagged.

    python bench/ablation.py demo-out examples/moonshine-tiny --data examples/asterisk

For each variant the best p of a coarse grid is reported. Writes bench/results/ablation-MODEL.json.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does

from stablequant.cli.console import ProgressLine
from stablequant.families.checkpoint import load
from stablequant.jobs import quantize
from stablequant.observe.collect import observe
from stablequant.quantize import calibrated
from stablequant.quantize.plan import Plan
from stablequant.quantize.simulate import Simulator
from stablequant.report.tables import table
from stablequant.runtime.processor import machine
from stablequant.search import stage2
from stablequant.search.journal import Journal
from stablequant.search.pools import LocalPool
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import paired_bootstrap

ROOT = Path(__file__).resolve().parent.parent
GRID = (0.0, 0.03, 0.1)
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "weights: channel, mse": {"weight_method": "mse"},
    "weights: tensor, max": {"weight_granularity": "tensor"},
    "weights: tensor, mse": {"weight_granularity": "tensor", "weight_method": "mse"},
    "removed mass folded": {"removed": "fold"},
    "asymmetric activations": {"symmetric": False},
    "flagged layers in two planes": {"planes": 2},
    "two planes, asymmetric": {"planes": 2, "symmetric": False},
    "base calibrator max": {"base_calibrator": "max"},
    "attention's products too": {"attention_matmuls": True},
}


def main() -> None:
    """Measure every variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished stablequant quantize")
    parser.add_argument("model")
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    pool = LocalPool(arguments.workers)
    flagged = Plan.load(arguments.run / "plan.json").flagged
    model = load(arguments.model)
    speech = quantize.read_speech(model.frontend, arguments.data, Settings())
    histograms = observe(model, [speech["calibration"].waveforms_of(s) for s in speech["calibration"].batches], matmuls=True)
    plain = Trials(Simulator(model), speech["dev"], Settings(), Journal(None), ProgressLine(), pool)
    (reference,) = plain.run([Candidate("float", {})], "float")
    rows = []
    for name, changes in VARIANTS.items():
        settings = Settings(**changes)
        names = [op.name for op in model.ops(matmuls=settings.attention_matmuls)]
        chosen = {n: histograms[n] for n in names}
        base = calibrated.uniform(chosen, settings.base_calibrator, settings)
        simulator = Simulator.under(model, settings)
        trials = Trials(simulator, speech["dev"], settings, Journal(None), ProgressLine(), pool)
        candidates = [
            Candidate(f"p {p:g}", calibrated.mixed(base, chosen, calibrated.same_p(flagged, p), settings)) for p in GRID
        ]
        outcomes = trials.run(candidates, name, base=candidates[0].scheme)
        tried = [stage2.Trial({"": p}, o.result.wer, o.result.cer) for p, o in zip(GRID, outcomes, strict=True)]
        best = stage2.choose(tried)
        outcome = outcomes[tried.index(best)]
        difference = paired_bootstrap(reference.result, outcome.result)
        rows.append(
            {
                "variant": name,
                "settings": changes,
                "p": best.p[""],
                "wer": round(best.wer, 4),
                "cer": round(best.cer, 4),
                "delta": round(difference.delta, 4),
                "delta_interval": [round(difference.low, 4), round(difference.high, 4)],
                "curve": {f"{t.p['']:g}": round(t.wer, 4) for t in tried},
                "float_wer": round(reference.result.wer, 4),
                "words": reference.result.total_words,
            }
        )
    result = {
        "model": arguments.model,
        "data": [str(d) for d in arguments.data],
        "flagged": list(flagged),
        "machine": machine(),
        "rows": rows,
    }
    path = ROOT / "bench" / "results" / f"ablation-{Path(arguments.model).name}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    cells = [
        [
            r["variant"],
            f"{r['p']:g}",
            f"{r['wer']:.2f}",
            f"{r['cer']:.2f}",
            f"{r['delta']:+.2f}",
            "{:+.2f} to {:+.2f}".format(*r["delta_interval"]),
        ]
        for r in rows
    ]
    print(table(["variant", "best p", "WER %", "CER %", "delta", "95 % interval"], cells))


if __name__ == "__main__":
    main()
