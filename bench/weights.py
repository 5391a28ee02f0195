"""What integer weights cost by how they are made, in divergence from the float model.

    python bench/weights.py                                 # both models on the embedded speech
    python bench/weights.py MODEL --data SOURCE --data SOURCE --name NAME
    python bench/weights.py --ways AdaRound                 # these alone, beside the nearest codes; other rows are left

Activations are in 8 bits with a scale a frame (the recipe fast). The divergence is KL a token or a frame on a part of the dev
speech, the decoder given the float model's own transcript (search/objective.py); moments are of the calibration speech. Each row
is compared with the nearest codes of the same width on the same utterances. Below 8 bits linear layers alone have groups, and
convolutions stay at 8 bits by channel. In a second pass GPTQ rounds again, for moments of what layers read when all layers
before them are quantised, weights by GPTQ and activations. Writes bench/results/weights.json after each row, other models in
it left as they are.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
import numpy as np
from result_path import RESULTS, command, save
from tables.weights import table
from torch import Tensor

from stablequant.data.speech import Speech
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.grid.moments import Moments, fit_weight
from stablequant.grid.weights import PerChannel, PerGroup, QuantizedWeight, WeightSpec
from stablequant.jobs.speech import read_splits
from stablequant.network.graph import Node
from stablequant.observe.cached import observe_once
from stablequant.observe.collect import watch
from stablequant.observe.gram import GramObserver, shared_rows
from stablequant.observe.moments import StoredMoments, moments_once
from stablequant.quantize.by_frame import by_frame
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.recipes import recipe
from stablequant.runtime.processor import machine
from stablequant.search.objective import Divergence
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import paired_bootstrap
from stablequant.tasks.score import Score

#: Width of the weights of linear layers, and how many of them share a scale; 8 bits: by channel, in all layers.
WIDTHS = ((8, None), (6, 64), (5, 64), (4, 32))
NEAREST = "nearest"


@dataclass(frozen=True)
class Way:
    """One way to make weights.

    Attributes:
        name: In the table.
        spec: Of the linear layers.
        act_order: Of GPTQ.
        convolutions: Whether convolutions are rounded so too; else they have the nearest codes by channel.
        passes: Over calibration speech: in float, and once more quantised.
    """

    name: str
    spec: WeightSpec
    act_order: bool = True
    convolutions: bool = True
    passes: int = 1


def ways(bits: int, group: int | None) -> Iterator[Way]:
    """All ways at one width; the nearest codes first, which the others are compared with."""
    nearest = WeightSpec(bits, PerChannel() if group is None else PerGroup(group))
    gptq = replace(nearest, rounding="gptq")
    yield Way(NEAREST, nearest)
    if group is None:
        yield Way("nearest, mse", replace(nearest, range="mse"))
        yield Way("nearest, bias", replace(nearest, correct_bias=True))
    yield Way("GPTQ", gptq)
    yield Way("GPTQ, mse", replace(gptq, range="mse"))
    yield Way("GPTQ, in order", gptq, act_order=False)
    yield Way("GPTQ, second pass", gptq, passes=2)
    yield Way("AdaRound", replace(gptq, rounding="adaround"))
    yield Way("AdaRound, mse", replace(gptq, rounding="adaround", range="mse"))
    if group is None:
        yield Way("GPTQ, linear layers alone", gptq, convolutions=False)
        yield Way("GPTQ, bias", replace(gptq, correct_bias=True))
        yield Way("GPTQ, in order, bias", replace(gptq, correct_bias=True), act_order=False)


class Made:
    """A model's integer weights, made one way."""

    def __init__(
        self,
        model: SpeechModel,
        moments: StoredMoments,
        base: Scheme,
        way: Way,
        seen: Mapping[str, Moments] | None = None,
    ) -> None:
        """Make them all, and time it; for the moments ``seen``, if there are others than those of the float model."""
        store, began = WeightStore.of(model, moments), time.perf_counter()
        self.held: dict[str, QuantizedWeight] = {}
        seen = seen or moments
        weights = model.layer_weights()
        for op in model.ops():
            spec = store.fitted(op.name, self._spec(op.node.kind, way))
            self.held[op.name] = (
                fit_weight(weights[op.name], spec, seen[op.name], act_order=way.act_order)
                if spec.from_speech
                else store.codes(op.name, spec)
            )
        self.seconds = time.perf_counter() - began
        self.scheme = {n: replace(s, weight=self.held[n].spec) if s.weight else s for n, s in base.items()}
        self.simulator = Simulator(model, weights=WeightStore(weights, kept=self.held))

    @staticmethod
    def _spec(kind: str, way: Way) -> WeightSpec:
        if kind == "linear":
            return way.spec
        return way.spec if way.spec.bits == 8 and way.convolutions else WeightSpec()


def seen_by(made: Made, model: SpeechModel, speech: Speech) -> dict[str, Moments]:
    """Moments by layer of what layers read in a model with the weights ``made`` and rounded activations."""
    shared, weights = shared_rows(model), model.layer_weights()
    observer = GramObserver({name: weights[name][0].numel() for name in dict.fromkeys(shared.values())})
    quantised = made.simulator.operands(made.scheme)
    assert quantised

    def both(
        node: Node, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor], lengths: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
        observer(node, inputs, weights, lengths)
        return quantised(node, inputs, weights, lengths)

    watch(model, (speech.waveforms_of(batch) for batch in speech.batches), both)
    found = observer.moments()
    return {layer: found[first] for layer, first in shared.items()}


class Judge:
    """The float model's logits on some speech, and the divergence of others from them."""

    def __init__(self, model: SpeechModel, speech: Speech) -> None:
        """Run the float model once."""
        self._model, self._speech, self._objective = model, speech, Divergence()
        self._features = [model.frontend.features(speech.waveforms_of(batch)) for batch in speech.batches]
        backend, head = Simulator(model).backend({}), model.frontend.head
        self._float = [
            self._objective.prepare(head, backend, model.frontend.encode(backend, features), features.sizes)
            for features in self._features
        ]

    def score(self, made: Made) -> Score:
        """The divergence of a model with the weights ``made``."""
        frontend, backend, found = self._model.frontend, made.simulator.backend(made.scheme), {}
        for batch, features, prepared in zip(self._speech.batches, self._features, self._float, strict=True):
            outputs = frontend.encode(backend, features)
            readings = self._objective.measure(frontend.head, backend, outputs, features.sizes, prepared)
            found.update(zip(batch, readings, strict=True))
        return self._objective.score(self._speech.utterances, [found[i] for i in range(len(found))])


def standard_error(score: Score) -> float:
    """Of a rate that is a ratio of sums over utterances (delta method)."""
    left = np.array(score.errors) - score.rate * np.array(score.units)
    return float(math.sqrt(len(left) * left.var(ddof=1)) / score.total)


def measure(
    folder: str, data: list[str], count: int, given: Settings, widths: Sequence[int], names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The ways called ``names`` to make the weights of one model, all if there are none, at some of the ``widths``.

    Yields:
        What was found so far, after each.
    """
    model = load(folder)
    speech, _, settings = read_splits(model.frontend, data, given.updated(**recipe("fast").settings))
    dev = speech["dev"]
    by_length = sorted(range(len(dev.utterances)), key=lambda i: (len(dev.waveforms[i]), dev.utterances[i].id))
    # Of every length but the longest third's, which would take most of the time.
    few = by_length[: max(count, 2 * len(by_length) // 3)]
    chosen = sorted(few[i * len(few) // count] for i in range(min(count, len(few))))
    dev = dev.part(chosen, settings.data.batch_size, settings.data.batch_seconds)
    work, kept = speech["calibration"], inputs.WORK / "weights" / Path(folder).name
    began = time.perf_counter()
    moments = moments_once(model, work, kept / "moments.safetensors")
    observed = time.perf_counter() - began
    base = by_frame(model, observe_once(model, work, False, kept / "activations.npz"), settings)
    about = {
        "data": [Path(source).stem for source in data],
        "utterances": len(dev.utterances),
        "calibration_utterances": len(work.utterances),
        "calibration_seconds": round(work.seconds, 1),
        "moments_seconds": round(observed, 1),
        "command": command(),
        "machine": machine(),
    }
    judge, rows = Judge(model, dev), []
    for bits, group in (width for width in WIDTHS if width[0] in widths):
        nearest: Score | None = None
        for way in ways(bits, group):
            if names and way.name not in (NEAREST, *names):
                continue
            made = Made(model, moments, base, way)
            if way.passes > 1:
                made = Made(model, moments, base, way, seen_by(made, model, work))
            score = judge.score(made)
            nearest = nearest or score
            difference = paired_bootstrap(nearest, score)
            rows.append(
                {
                    "bits": bits,
                    "group": group,
                    "way": way.name,
                    "divergence": round(score.rate, 6),
                    "standard_error": round(standard_error(score), 6),
                    "difference": round(difference.delta, 6),
                    "difference_interval": [round(difference.low, 6), round(difference.high, 6)],
                    "seconds": round(made.seconds, 2),
                }
            )
            print(rows[-1], flush=True)
            yield about | {"steps": int(score.total), "rows": rows}


def merged(found: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    """What was ``found`` and, if of the same speech and machine, the rows of ``before`` that were not measured again."""
    same = ("data", "utterances", "steps", "calibration_utterances", "machine")
    if before is None or any(before[key] != found[key] for key in same):
        return found
    rows = {(row["bits"], row["way"]): row for row in [*before["rows"], *found["rows"]]}
    order = [(bits, way.name) for bits, group in WIDTHS for way in ways(bits, group)]
    return before | {"rows": [rows[key] for key in order if key in rows]}


def main() -> None:
    """Measure one model, or both of the repository."""
    parser = inputs.arguments_of(__doc__)
    parser.add_argument("models", nargs="*", default=[inputs.MOONSHINE, inputs.GRAFT], help="folders of checkpoints")
    inputs.add_data(parser)
    parser.add_argument("--utterances", type=int, default=64, help="of the dev speech")
    inputs.add_settings(parser)
    parser.add_argument("--bits", default="8,6,5,4", help="widths to measure, with commas")
    parser.add_argument("--ways", default="", help="by name, with semicolons; default: all")
    parser.add_argument("--name", help="of a single model in the result; default: the folder's")
    arguments = parser.parse_args()
    data, path = inputs.sources(arguments), RESULTS / "weights.json"
    settings, widths = inputs.settings_of(arguments), [int(bits) for bits in arguments.bits.split(",")]
    for folder in arguments.models:
        name, names = arguments.name or Path(folder).name, list(filter(None, arguments.ways.split(";")))
        models: dict[str, Any] = json.loads(path.read_text())["models"] if path.is_file() else {}
        before = models.get(name) if names else None
        for found in measure(folder, data, arguments.utterances, settings, widths, names):
            save("weights", {"models": models | {name: merged(found, before)}})
    print(table("weights"))


if __name__ == "__main__":
    main()
