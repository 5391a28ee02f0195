"""What a head loses that the embedding reads too, rounded for the logits alone and for lookups as well, in 4 bits by 32.

    python bench/lookups.py                                            # Moonshine tiny on the embedded speech
    python bench/lookups.py openai/whisper-tiny.en --data examples/asterisk --utterances 16

Rows: the head's nearest codes, GPTQ with several shares of lookups in its second moments (grid/moments.py), and AdaRound.
Divergence from float on dev speech, of the head's rounding alone and of the whole model in W4A8 with GPTQ and a scale a block.
Adds a model to bench/results/lookups.json.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
from result_path import RESULTS, command, save
from study import Study
from tables.lookups import table

from stablequant.grid.moments import LOOKUPS, fit_weight
from stablequant.grid.unrounded import Unrounded
from stablequant.grid.weights import QuantizedWeight, quantize_weight
from stablequant.quantize.scheme import LayerScheme
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.search.journal import Journal
from stablequant.search.objective import Divergence
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import paired_bootstrap

SHARES = (0.0, 0.1, LOOKUPS, 1.0, 3.0)


def main() -> None:
    """Measure one model."""
    parser = inputs.arguments_of(__doc__)
    inputs.add_model(parser)
    inputs.add_data(parser)
    parser.add_argument("--utterances", type=int, default=48, help="of dev speech; default: 48")
    parser.add_argument("--calibration", type=int, default=64, help="utterances to calibrate on; default: 64")
    arguments = parser.parse_args()
    name = Path(arguments.model).name
    chosen = {"bits": "w4a8", "rounding": "gptq", "calibration_utterances": arguments.calibration}
    data, settings = inputs.sources(arguments), Settings.parse(chosen)
    study = Study.read(arguments.model, data, settings, f"lookups/{name}")
    (head,) = {node.shares for graph in study.model.graphs for node in graph.nodes if node.shares}
    whole = study.by_frame(settings)
    spec, weights = whole[head].weight, study.model.layer_weights()
    assert spec is not None
    moments, w = study.moments[head], weights[head]
    made: dict[str, QuantizedWeight] = {"nearest codes": quantize_weight(w, replace(spec, rounding="nearest"))}
    for share in SHARES:
        made[f"GPTQ, lookups {share:g}"] = fit_weight(w, spec, moments.with_lookups(share))
    adaround = replace(spec, rounding="adaround")
    for share in (0.0, LOOKUPS):
        made[f"AdaRound, lookups {share:g}"] = fit_weight(w, adaround, moments.with_lookups(share))
    store, dev = study.store(), study.speech["dev"]
    others = {n: store.codes(n, s.weight) for n, s in whole.items() if s.weight is not None and n != head}
    journal, drawn = Journal(study.folder / "trials.sqlite"), dev.draw(arguments.utterances, settings.data.seed)
    scores, steps = {}, 0
    for label, held in made.items():
        kept = {**others, head: held}
        schemes = {"alone": {head: LayerScheme((Unrounded(),), held.spec)}}
        schemes["whole"] = {**whole, head: replace(whole[head], weight=held.spec)}
        simulator = Simulator(study.model, weights=WeightStore(weights, kept=kept))
        for kind, scheme in schemes.items():
            objective = Divergence(f"divergence, {label}, {kind}")
            trials = Trials(simulator, dev, settings, objective, journal, study.progress).on(drawn)
            _, found = trials.run([Candidate("float", {}), Candidate(label, scheme)], f"{label}, {kind}")
            scores[label, kind], steps = found.score, int(found.score.total)
    rows = []
    for label in made:
        row: dict[str, Any] = {"name": label}
        for kind in ("alone", "whole"):
            difference = paired_bootstrap(scores["GPTQ, lookups 0", kind], scores[label, kind])
            row[kind] = round(scores[label, kind].rate, 6)
            row[f"{kind}_difference"] = [round(x, 6) for x in (difference.delta, difference.low, difference.high)]
        rows.append(row)
    path = RESULTS / "lookups.json"
    models: dict[str, Any] = json.loads(path.read_text())["models"] if path.is_file() else {}
    models[name] = {
        "command": command(),
        "data": [Path(source).name for source in data],
        "utterances": len(drawn),
        "steps": steps,
        "rows": rows,
    }
    print(table(save("lookups", {"models": models})))


if __name__ == "__main__":
    main()
