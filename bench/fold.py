"""What folds are worth: divergence from float at low widths, without a fold and with each.

    python bench/fold.py                                 # both models on the embedded speech
    python bench/fold.py MODEL --data SOURCE --name NAME

A fold rewrites the weights so that the float model computes the same (`parity`: the largest difference of its logits over their
range) and rounds better, or not. Divergence is KL a token or a frame on a part of the dev speech from the float model as it was,
the decoder given its own transcript. Each row is compared with the same widths without a fold on the same utterances. Writes
bench/results/fold.json, other models in it left as they are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
import numpy as np
from result_path import RESULTS, command, save
from tables.fold import table
from weights import Judge, standard_error

from stablequant.data.speech import Speech
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.grid.moments import fit_weight
from stablequant.grid.weights import PerGroup, WeightSpec
from stablequant.jobs.speech import read_splits
from stablequant.observe.collect import Histograms, observe
from stablequant.observe.gram import observe_moments, shared_rows
from stablequant.observe.moments import moments_once
from stablequant.quantize import calibrated
from stablequant.quantize.by_frame import by_frame
from stablequant.quantize.folding import fold
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.recipes import recipe
from stablequant.runtime.processor import machine
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import paired_bootstrap
from stablequant.tasks.score import Score

#: Name in the table -> folds, one after the other, each with its options.
FOLDS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "none": (),
    "smooth": (("smooth", {"strength": 0.5}),),
    "AWQ": (("awq", {"weights": WeightSpec(4, PerGroup(32))}),),
    "rotate": (("rotate", {}),),
    "smooth, rotate": (("smooth", {"strength": 0.5}), ("rotate", {})),
}


@dataclass(frozen=True)
class Quantised:
    """A model under a scheme, as `Judge` takes it."""

    simulator: Simulator
    scheme: Scheme


def schemes(model: SpeechModel, found: Histograms, settings: Settings, *, alone: bool) -> Iterator[tuple[str, Scheme]]:
    """Every scheme by its name in the table; weights below 8 bits are of linear layers, in groups of 32.

    GPTQ rounds convolutions too, at 8 bits, unless linear layers are to be rounded so ``alone``.
    """
    static = calibrated.uniform(found, "mse", settings)
    yield "W8A8, a scale a tensor", static
    linear = {op.name for op in model.ops() if op.node.kind == "linear"}
    yield "W8A8, a scale a tensor, linear layers alone", {n: s for n, s in static.items() if n in linear}
    for bits in ("w4a8", "w4a4"):
        chosen = settings.updated(**recipe("fast").settings, bits=bits, rounding="nearest")
        nearest = by_frame(model, found, chosen)
        yield f"{bits.upper()}, nearest", nearest
        made = {n: replace(s, weight=replace(s.weight, rounding="gptq")) if s.weight else s for n, s in nearest.items()}
        yield f"{bits.upper()}, GPTQ", {n: s if n in linear or not alone else nearest[n] for n, s in made.items()}


def store_of(model: SpeechModel, speech: Speech, linear: bool) -> WeightStore:
    """Integer weights that can be made for ``speech``, if ``linear`` those of linear layers alone."""
    if not linear:
        return WeightStore.of(
            model, moments_once(model, speech, inputs.WORK / "fold" / f"{model.fingerprint}.safetensors")
        )
    shared = shared_rows(model)
    layers = [op.name for op in model.ops() if op.node.kind == "linear" and op.name in shared]
    rows = observe_moments(model, map(speech.waveforms_of, speech.batches), {shared[name] for name in layers})
    weights, spec = model.layer_weights(), WeightSpec(4, PerGroup(32), "mse", "gptq")
    return WeightStore(weights, kept={n: fit_weight(weights[n], spec, rows[shared[n]]) for n in layers})


def logits_of(model: SpeechModel, speech: Speech) -> list[Any]:
    """The float model's logits on the shortest recording."""
    frontend, backend = model.frontend, Simulator(model).backend({})
    features = frontend.features([min(speech.waveforms, key=len)])
    outputs = frontend.encode(backend, features)
    answers = frontend.head.read(backend, outputs, features.sizes)
    return [np.asarray(x) for x in frontend.head.logits(backend, outputs, answers)]


def measure(
    folder: str, data: list[str], count: int, calibration: int, given: Settings, *, linear: bool
) -> Iterator[dict[str, Any]]:
    """One model: what is known so far after every fold."""
    model = load(folder)
    speech, _, settings = read_splits(model.frontend, data, given)
    dev, work = speech["dev"], speech["calibration"]
    by_length = sorted(range(len(dev.utterances)), key=lambda i: (len(dev.waveforms[i]), dev.utterances[i].id))
    few = by_length[: max(count, 2 * len(by_length) // 3)]  # not the longest, which would take most of the time
    chosen = sorted(few[i * len(few) // count] for i in range(min(count, len(few))))
    dev = dev.part(chosen, settings.data.batch_size, settings.data.batch_seconds)
    drawn = work.draw(calibration, settings.data.seed)
    work = work.part(drawn, settings.data.batch_size, settings.data.batch_seconds)
    judge, (plain,) = Judge(model, dev), logits_of(model, dev)
    found: dict[str, Any] = {
        "data": [Path(source).stem for source in data],
        "utterances": len(dev.utterances),
        "calibration_utterances": len(work.utterances),
        "calibration_seconds": round(work.seconds, 1),
        "layers": len(model.ops()),
        "gptq": "linear layers" if linear else "linear layers and convolutions",
        "folds": {},
        "rows": [],
        "command": command(),
        "machine": machine(),
    }
    without: dict[str, Score] = {}
    for name, steps in FOLDS.items():
        began, folded, layers = time.perf_counter(), model, set[str]()
        for method, options in steps:
            made = fold(folded, work, method, **options)
            folded, layers = made.model, layers | set(made.layers)
        seconds = time.perf_counter() - began
        (logits,) = logits_of(folded, dev)
        found["folds"][name] = {
            "layers": len(layers),
            "parity": float(np.abs(logits - plain).max() / np.ptp(plain)),
            "float_bytes": folded.float_bytes / model.float_bytes,
            "seconds": round(seconds, 1),
        }
        histograms = observe(folded, map(work.waveforms_of, work.batches))
        weights = store_of(folded, work, linear)
        for widths, scheme in schemes(folded, histograms, settings, alone=linear):
            score = judge.score(Quantised(Simulator(folded, weights=weights), scheme))
            difference = paired_bootstrap(without.setdefault(widths, score), score)
            found["rows"].append(
                {
                    "widths": widths,
                    "fold": name,
                    "divergence": round(score.rate, 6),
                    "standard_error": round(standard_error(score), 6),
                    "difference": round(difference.delta, 6),
                    "difference_interval": [round(difference.low, 6), round(difference.high, 6)],
                }
            )
            found["steps"] = int(score.total)
            print(found["rows"][-1], flush=True)
        yield found


def main() -> None:
    """Measure one model, or both of the repository."""
    parser = inputs.arguments_of(__doc__)
    parser.add_argument("models", nargs="*", default=[inputs.MOONSHINE, inputs.GRAFT], help="folders of checkpoints")
    inputs.add_data(parser)
    parser.add_argument("--utterances", type=int, default=16, help="of the dev speech")
    parser.add_argument("--calibration", type=int, default=32, help="utterances of calibration speech")
    parser.add_argument(
        "--linear", action="store_true", help="GPTQ for linear layers alone: wide convolutions take long"
    )
    inputs.add_settings(parser)
    parser.add_argument("--name", help="of a single model in the result; default: the folder's")
    arguments = parser.parse_args()
    data, path, settings = inputs.sources(arguments), RESULTS / "fold.json", inputs.settings_of(arguments)
    for folder in arguments.models:
        counts = arguments.utterances, arguments.calibration
        for found in measure(folder, data, *counts, settings, linear=arguments.linear):
            models: dict[str, Any] = json.loads(path.read_text())["models"] if path.is_file() else {}
            models[arguments.name or Path(folder).name] = found
            save("fold", {"models": models})
    print(table("fold"))


if __name__ == "__main__":
    main()
