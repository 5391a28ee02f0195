"""Does the divergence from float predict word error rate, on how few utterances, and does the estimate predict the divergence?

    python bench/objective.py                                      # Moonshine tiny on the embedded speech
    python bench/objective.py MODEL --data SOURCE --workers 2

1. Two dozen schemes of the whole model: divergence on 128 dev utterances, word error rate on the test speech, rank agreement.
2. The same agreement with the divergence of 8, 16, 32 and 64 utterances, and whether the standard error told is the spread seen.
3. Every scheme of some layers alone: what the estimate of search/fisher.py says, and what trials measure.

Writes bench/results/objective.json, other models in it left as they are; finished trials are kept in build/bench.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from inputs import WORK, add_data, add_model, arguments_of, sources
from numpy.typing import NDArray
from result_path import RESULTS, command, save
from scipy.stats import spearmanr
from tables.objective import table

from stablequant.cli.console import ProgressLine
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.jobs.open import simulator
from stablequant.jobs.speech import read_splits
from stablequant.observe.cached import observe_once
from stablequant.observe.collect import Histograms
from stablequant.quantize import calibrated
from stablequant.quantize.by_frame import by_frame
from stablequant.quantize.scheme import Scheme
from stablequant.runtime.processor import machine
from stablequant.search.allocate import allocate, layer_options
from stablequant.search.costs import modelled
from stablequant.search.fisher import estimate
from stablequant.search.journal import Journal
from stablequant.search.objective import Divergence, TaskError
from stablequant.search.pools import LocalPool
from stablequant.search.trials import Candidate, Outcome, Trials
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import paired_bootstrap

#: Dev utterances, and the parts of them that are looked at alone.
UTTERANCES, PARTS = 128, (8, 16, 32, 64, 128)
#: Layers whose schemes are tried one by one: every so manyth, on so many utterances.
EVERY, ESTIMATED = 5, 32
#: Draws of the subsets behind a rank agreement.
DRAWS = 200


def schemes(model: SpeechModel, histograms: Histograms, allocations: Mapping[float, Scheme]) -> dict[str, Scheme]:
    """Whole models, from next to float to broken."""
    found: dict[str, Scheme] = {}
    for bits in (8, 7, 6):
        for calibrator in ("max", "percentile", "mse"):
            found[f"{calibrator}, {bits} bits"] = calibrated.uniform(histograms, calibrator, Settings(bits=bits))
        settings = Settings.parse({"bits": bits, "scales": "frame"})
        found[f"per frame, {bits} bits"] = by_frame(model, histograms, settings)
    for weights in (7, 6, 5):
        settings = Settings.parse({"scales": "frame", "weights.bits": weights})
        found[f"per frame, weights of {weights} bits"] = by_frame(model, histograms, settings)
    for activations in (7, 6, 5):
        settings = Settings.parse({"scales": "frame", "activations.bits": activations})
        found[f"per frame, activations of {activations} bits"] = by_frame(model, histograms, settings)
    found["mse, zero points"] = calibrated.uniform(histograms, "mse", Settings(symmetric=False))
    first = next(iter(histograms))
    mse = calibrated.uniform(histograms, "mse", Settings())
    found["mse, waveform with a residual code"] = {
        **mse,
        first: calibrated.with_residual(histograms[first][0], Settings()),
    }
    return found | {f"allocation, allowance {a:g}": scheme for a, scheme in allocations.items()}


def agreement(model: SpeechModel, runs: list[Outcome], words: list[Outcome], reference: Outcome) -> dict[str, Any]:
    """Rank agreement on all utterances and on parts, and each scheme's figures."""
    deltas = [paired_bootstrap(reference.score, outcome.score) for outcome in words]
    delta = np.array([d.delta for d in deltas])
    nats = np.array([o.score.errors for o in runs])
    steps = np.array(runs[0].score.units)
    rates = nats.sum(1) / steps.sum()
    rows = [
        {
            "scheme": outcome.candidate.label,
            "divergence": float(f"{rate:.4g}"),
            "standard_error": float(f"{_standard_error(own, steps):.3g}"),
            "delta": round(d.delta, 4),
            "delta_interval": [round(d.low, 4), round(d.high, 4)],
        }
        for outcome, rate, own, d in zip(runs, rates, nats, deltas, strict=True)
    ]
    return {
        "spearman": round(float(spearmanr(rates, delta).statistic), 4),
        "schemes": rows,
        "parts": {str(count): _part(nats, steps, delta, count) for count in PARTS if count <= len(steps)},
    }


def _standard_error(nats: NDArray[np.float64], steps: NDArray[np.float64]) -> float:
    """Of a ratio of sums over utterances, to first order (Cochran 1977, section 6.4)."""
    rate = nats.sum() / steps.sum()
    return float(np.sqrt(len(steps) / max(1, len(steps) - 1) * ((nats - rate * steps) ** 2).sum()) / steps.sum())


def _part(
    nats: NDArray[np.float64], steps: NDArray[np.float64], delta: NDArray[np.float64], count: int
) -> dict[str, float]:
    """Draws of so many utterances: mean rank agreement, and the spread of rates over the standard error that each draw tells."""
    random = np.random.default_rng(0)
    ranks, found, told = [], [], []
    for _ in range(DRAWS):
        picks = random.choice(len(steps), count, replace=count == len(steps))
        some, units = nats[:, picks], steps[picks]
        ranks.append(spearmanr(some.sum(1) / units.sum(), delta).statistic)
        found.append(some.sum(1) / units.sum())
        told.append([_standard_error(row, units) for row in some])
    # Draws of a finite set without replacement vary less than draws from all speech do.
    finite = 1.0 if count == len(steps) else np.sqrt(1 - count / len(steps))
    spread = np.std(found, axis=0) / finite
    return {
        "spearman": round(float(np.mean(ranks)), 4),
        "spread_over_told": round(float(np.median(spread / np.mean(told, axis=0))), 3),
        "relative_error": round(float(np.median(np.mean(told, axis=0) / np.mean(found, axis=0))), 3),
    }


def estimates(trials: Trials, histograms: Histograms) -> dict[str, Any]:
    """What is estimated of layers alone, and what trials of them measure; evaluations are of the speech that both run on."""
    options = layer_options(trials, histograms, trials.settings)
    some = {layer: o for layer, o in list(options.items())[1::EVERY] if len(o) > 1}
    part = trials.on(trials.speech.draw(ESTIMATED, 0))
    unit = float(_float_work(part))
    began = time.perf_counter()
    before = part.cost.multiplications
    guessed = estimate(part, some)
    estimate_cost, estimate_seconds = part.cost.multiplications - before, time.perf_counter() - began
    pairs = [(layer, name) for layer, o in some.items() for name in o]
    before, seconds = part.cost.multiplications, part.cost.seconds
    outcomes = part.run([Candidate(f"{a}, {b}", {a: some[a][b]}) for a, b in pairs], "layers alone")
    measured = np.array([o.score.rate for o in outcomes])
    guesses = np.array([guessed[a][b] for a, b in pairs])
    return {
        "pairs": len(pairs),
        "spearman": round(float(spearmanr(guesses, measured).statistic), 4),
        "median_ratio": round(float(np.median(guesses / np.maximum(measured, 1e-12))), 3),
        "estimate_evaluations": round(estimate_cost / unit, 2),
        "estimate_seconds": round(estimate_seconds, 1),
        "trial_evaluations": round((part.cost.multiplications - before) / unit, 2),
        "trial_seconds": round(part.cost.seconds - seconds, 1),
    }


def _float_work(trials: Trials) -> int:
    """Multiplications of the float model's answers to the speech of ``trials``."""
    simulator, before = trials.simulator, trials.simulator.multiplications
    for batch in trials.speech.batches:
        simulator.model.frontend.recognize(simulator.backend({}), trials.speech.waveforms_of(batch))
    return simulator.multiplications - before


def main() -> None:
    """Measure one model."""
    parser = arguments_of(__doc__)
    add_model(parser)
    add_data(parser)
    parser.add_argument("--workers", type=int, default=1, help="processes that share the trials")
    parser.add_argument("--name", help="of the model in the result; default: the folder's")
    arguments = parser.parse_args()
    name, data = arguments.name or Path(arguments.model).name, sources(arguments)
    folder, progress = WORK / f"objective-{name}", ProgressLine()
    model = load(arguments.model)
    settings = Settings(strategy="allocate", objective="divergence", divergence_utterances=UTTERANCES)
    speech, task, settings = read_splits(model.frontend, data, settings)
    histograms = observe_once(model, speech["calibration"], False, folder / "activations.npz", progress)
    dev = speech["dev"].part(speech["dev"].draw(UTTERANCES, 0), settings.data.batch_size, settings.data.batch_seconds)
    pool = LocalPool(arguments.workers)
    with Journal(folder / "trials.sqlite") as journal:
        simulated = simulator(model, settings)
        diverging = Trials(simulated, dev, settings, Divergence(), journal, progress, pool)
        words = Trials(simulated, speech["test"], settings, TaskError(task), journal, progress, pool)
        costs = modelled(simulated, dev, layer_options(diverging, histograms, settings))
        allocations = {
            a: allocate(diverging, histograms, settings.updated(allowance=a), costs).chosen.candidate.scheme
            for a in (0.0, 0.1, 0.4, 2.0)
        }
        candidates = [Candidate(n, s) for n, s in schemes(model, histograms, allocations).items()]
        (reference,) = words.run([Candidate("float", {})], "float on test")
        runs = diverging.run(candidates, "divergence")
        found = agreement(model, runs, words.run(candidates, "words"), reference)
        found["estimate"] = estimates(diverging, histograms)
        found["cost"] = {
            "divergence_seconds": round(diverging.cost.seconds, 1),
            "words_seconds": round(words.cost.seconds, 1),
        }
    pool.close()
    found |= {
        "words": int(reference.score.total),
        "utterances": len(dev.utterances),
        "sources": [Path(source).stem for source in data],
        "command": command(),
        "machine": machine(),
    }
    path = RESULTS / "objective.json"
    models: dict[str, Any] = json.loads(path.read_text())["models"] if path.is_file() else {}
    save("objective", {"models": {**models, name: found}})
    print(table("objective"))


if __name__ == "__main__":
    main()
