"""The choices the paper leaves open, each measured on the dev speech with the layers that a finished run flagged.

    python bench/ablation.py demo-out --data examples/asterisk

Of each variant the best p of a coarse grid is reported. Writes bench/results/ablation-MODEL.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inputs import add_data, add_run, arguments_of, sources
from result_path import save
from tables import ablation

from stablequant.cli.console import ProgressLine
from stablequant.jobs.open import open_plan, simulator
from stablequant.jobs.speech import read_splits
from stablequant.observe.collect import observe
from stablequant.quantize import calibrated
from stablequant.search import stage2
from stablequant.search.objective import TaskError
from stablequant.search.pools import LocalPool
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import paired_bootstrap

P_VALUES = (0.0, 0.03, 0.1)
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "weights: channel, mse": {"weights.range": "mse"},
    "weights: tensor, max": {"weights.granularity": "tensor"},
    "weights: tensor, mse": {"weights.granularity": "tensor", "weights.range": "mse"},
    "removed mass folded": {"activations.removed": "fold"},
    "asymmetric activations": {"activations.symmetric": False},
    "flagged layers in two planes": {"activations.planes": 2},
    "two planes, asymmetric": {"activations.planes": 2, "activations.symmetric": False},
    "base calibrator max": {"activations.calibrator": "max"},
    "attention's products too": {"activations.attention_matmuls": True},
}


def main() -> None:
    """Measure every variant."""
    parser = arguments_of(__doc__)
    add_run(parser)
    add_data(parser)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    plan, model = open_plan(arguments.run, arguments.checkpoint)
    speech, task, _ = read_splits(model.frontend, sources(arguments), Settings())
    calibration, dev = speech["calibration"], speech["dev"]
    histograms = observe(model, (calibration.waveforms_of(b) for b in calibration.batches), matmuls=True)

    def trials(settings: Settings) -> Trials:
        pool = LocalPool(arguments.workers)
        return Trials(simulator(model, settings), dev, settings, TaskError(task), progress=ProgressLine(), pool=pool)

    (reference,) = trials(Settings()).run([Candidate("float", {})], "float")
    rows = []
    for name, changes in VARIANTS.items():
        settings = Settings.parse(changes)
        chosen = {op.name: histograms[op.name] for op in model.ops(matmuls=settings.activations.attention_matmuls)}
        base = calibrated.uniform(chosen, settings.activations.calibrator, settings)
        schemes = [calibrated.mixed(base, chosen, calibrated.same_p(plan.flagged, p), settings) for p in P_VALUES]
        candidates = [Candidate(f"p {p:g}", scheme) for p, scheme in zip(P_VALUES, schemes, strict=True)]
        outcomes = trials(settings).run(candidates, name, base=schemes[0])
        tried = [stage2.Trial({"": p}, *o.score.rank) for p, o in zip(P_VALUES, outcomes, strict=True)]
        best = stage2.choose(tried)
        outcome = outcomes[tried.index(best)]
        difference = paired_bootstrap(reference.score, outcome.score)
        rows.append(
            {
                "variant": name,
                "settings": changes,
                "p": best.p[""],
                "wer": round(best.rate, 4),
                "cer": round(task.figures(dev.utterances, outcome.readings)["cer"], 4),
                "delta": round(difference.delta, 4),
                "delta_interval": [round(difference.low, 4), round(difference.high, 4)],
                "curve": {f"{t.p['']:g}": round(t.rate, 4) for t in tried},
                "float_wer": round(reference.score.rate, 4),
                "words": int(reference.score.total),
            }
        )
    name = f"ablation-{Path(plan.model.name).name}"
    result = {"model": plan.model.name, "data": sources(arguments), "flagged": list(plan.flagged), "rows": rows}
    print(ablation.table(save(name, result)))


if __name__ == "__main__":
    main()
