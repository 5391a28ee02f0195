"""What evolving calibrated scales gains: divergence on speech that they were not evolved on, beside mse and the paper's scheme.

    python bench/evolution.py                                  # Moonshine tiny on the embedded speech

Scales are evolved from those of mse and from the paper's (every layer in the former, the flagged ones in the latter) on some dev
utterances, and all four schemes are compared on as many others. Weights are the nearest codes. Writes
bench/results/evolution.json; finished trials are kept in build/bench/evolution, so a stopped run goes on.
"""

from __future__ import annotations

from pathlib import Path

from inputs import WORK, add_data, add_model, add_settings, arguments_of, settings_of, sources
from result_path import save
from tables.evolution import table

from stablequant.families.checkpoint import load
from stablequant.jobs.speech import read_splits
from stablequant.observe.cached import observe_once
from stablequant.quantize import calibrated
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.search.evolve import Evolved, evolve
from stablequant.search.journal import Journal
from stablequant.search.objective import Divergence
from stablequant.search.paper_scheme import naive_costs, paper_scheme
from stablequant.search.trials import Candidate, Trials
from stablequant.tasks.bootstrap import paired_bootstrap


def main() -> None:
    """Measure one model."""
    parser = arguments_of(__doc__)
    add_model(parser)
    add_data(parser)
    add_settings(parser)
    parser.add_argument("--utterances", type=int, default=16, help="to evolve on, and as many others to compare on")
    parser.add_argument("--evaluations", type=int, default=60)
    arguments = parser.parse_args()
    model, data, given = load(arguments.model), sources(arguments), settings_of(arguments)
    name, count = Path(arguments.model).name, arguments.utterances
    speech, _, settings = read_splits(model.frontend, data, given.updated(strategy="none"))
    kept = WORK / "evolution" / name
    kept.mkdir(parents=True, exist_ok=True)
    histograms = observe_once(model, speech["calibration"], False, kept / "activations.npz")
    both = speech["dev"].draw(2 * count, settings.data.seed)
    with Journal(kept / "trials.sqlite") as journal:
        trials = Trials(Simulator(model), speech["dev"], settings, Divergence(), journal)
        seen, other = trials.on(both[::2]), trials.on(both[1::2])
        (plain,) = seen.run([Candidate("float", {})], "float")
        naive = naive_costs(seen, histograms, settings)
        evaluation = seen.cost.by_candidate[plain.candidate.key()]
        paper = paper_scheme(seen, histograms, naive, settings, evaluation)
        mse = calibrated.uniform(histograms, "mse", settings)
        evolved: dict[str, Evolved] = {"mse, evolved": evolve(seen, mse, list(mse), arguments.evaluations, 0)}
        if paper.flagged:
            evolved["paper, evolved"] = evolve(seen, paper.scheme, paper.flagged, arguments.evaluations, 0)
        schemes: dict[str, Scheme] = {"mse": mse, "paper": paper.scheme, **{n: e.scheme for n, e in evolved.items()}}
        candidates = [Candidate(label, scheme) for label, scheme in schemes.items()]
        here, there = (some.run(candidates, "compared", base=mse) for some in (seen, other))
    rows = []
    for label, inside, outside in zip(schemes, here, there, strict=True):
        difference = paired_bootstrap(there[0].score, outside.score)
        found = evolved.get(label)
        rows.append(
            {
                "scheme": label,
                "seen": round(inside.score.rate, 6),
                "other": round(outside.score.rate, 6),
                "difference": round(difference.delta, 6),
                "difference_interval": [round(difference.low, 6), round(difference.high, 6)],
                "evaluations": found.evaluations if found else None,
                "layers": len(found.factors) if found else None,
                "factors": [round(end(found.factors.values()), 3) for end in (min, max)] if found else None,
            }
        )
    result = {
        "model": name,
        "data": [Path(source).stem for source in data],
        "utterances": count,
        "steps": [int(outcomes[0].score.total) for outcomes in (here, there)],
        "flagged": len(paper.flagged),
        "rows": rows,
    }
    print(table(save("evolution", result)))


if __name__ == "__main__":
    main()
