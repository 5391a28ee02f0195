"""How gamma, the step of p, its spacing and one p a layer trade words for time: searched on dev speech, reported on test speech.

    python bench/search_ablation.py examples/moonshine-tiny --data examples/asterisk --workers 2

All variants share one journal (that of bench/search_cost.py, if it ran with the same speech), so stage 1 is run once.
Writes bench/results/search_ablation-MODEL.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inputs import WORK, add_data, add_model, arguments_of, sources
from result_path import save
from tables import search_ablation

from stablequant.cli.console import ProgressLine
from stablequant.families.checkpoint import load
from stablequant.jobs.speech import read_splits
from stablequant.observe.collect import observe
from stablequant.quantize.simulate import Simulator
from stablequant.search.journal import Journal
from stablequant.search.objective import TaskError
from stablequant.search.pools import LocalPool
from stablequant.search.stage2 import choose
from stablequant.search.stages import search
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import paired_bootstrap

VARIANTS: dict[str, dict[str, Any]] = {
    "gamma 0.25; step 0.01": {},
    "gamma 0.25; step 0.05": {"p_step": 0.05},
    "gamma 0.25; step 0.1": {"p_step": 0.1},
    "racing, gamma 0.25; step 0.01": {"strategy": "racing"},
    "racing, gamma 0.25; step 0.1, one p a layer": {"strategy": "racing", "p_step": 0.1, "p_per_layer": True},
    "gamma 0.5; step 0.1": {"gamma": 0.5, "p_step": 0.1},
    "gamma 1; step 0.1": {"gamma": 1.0, "p_step": 0.1},
    "gamma 0.25, beyond chance; step 0.1": {"beyond_chance": True, "p_step": 0.1},
    "gamma 0.25; even in scale, as many as step 0.1": {"p_step": 0.1, "p_spacing": "scale"},
}


def main() -> None:
    """Run every variant."""
    parser = arguments_of(__doc__)
    add_model(parser)
    add_data(parser)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    name, data = Path(arguments.model).name, sources(arguments)
    model = load(arguments.model)
    speech, task, _ = read_splits(model.frontend, data, Settings())
    calibration = speech["calibration"]
    histograms = observe(model, (calibration.waveforms_of(batch) for batch in calibration.batches))
    pool, simulator = LocalPool(arguments.workers), Simulator(model)
    rows = []
    with Journal(WORK / "search_cost" / name / "exact.sqlite") as journal:

        def trials(split: str, settings: Settings) -> Trials:
            return Trials(simulator, speech[split], settings, TaskError(task), journal, ProgressLine(), pool)

        (reference,) = trials("test", Settings()).run([Candidate("float", {})], "float on test")
        for variant, changes in VARIANTS.items():
            settings = Settings.parse(changes)
            found = search(trials("dev", settings), histograms, settings)
            (outcome,) = trials("test", settings).run([Candidate(variant, found.scheme)], "on test", base=found.scheme)
            best = choose(found.stage2.trials) if found.stage2.trials else None
            cost = paired_bootstrap(reference.score, outcome.score)
            rows.append(
                {
                    "variant": variant,
                    "settings": changes,
                    "flagged": len(found.stage2.p),
                    "p": sorted(set(found.stage2.p.values())),
                    "p_by_layer": dict(found.stage2.p) if settings.search.p_per_layer else None,
                    "tried": len(found.stage2.trials),
                    "evaluations": round(found.spent.evaluations, 1),
                    "dev_wer": None if best is None else round(best.rate, 4),
                    "test_wer": round(outcome.score.rate, 4),
                    "delta": round(cost.delta, 4),
                    "delta_interval": [round(cost.low, 4), round(cost.high, 4)],
                }
            )
    result = {
        "model": name,
        "data": data,
        "dev_words": int(found.reference.score.total),
        "dev_float_wer": round(found.reference.score.rate, 4),
        "test_words": int(reference.score.total),
        "test_float_wer": round(reference.score.rate, 4),
        "rows": rows,
    }
    print(search_ablation.table(save(f"search_ablation-{name}", result)))


if __name__ == "__main__":
    main()
