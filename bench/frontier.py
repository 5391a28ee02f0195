"""How small a model gets before it loses words: each layer's width chosen within budgets of bytes.

    python bench/frontier.py
    python bench/frontier.py tests/assets/wavlm-graft

For each budget: bytes of weights against float32, mean bits a weight with its scales, divergence from float on the dev speech
that was searched on, error rate on the test speech with the interval of the difference, all in simulation; beside them 8 bits and
4 bits in groups of 32 everywhere. Adds to bench/results/frontier.json, a model and a row at a time; rows that are there are kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
from result_path import RESULTS, command, save
from tables.frontier import plot, table

from stablequant.families.checkpoint import load
from stablequant.jobs.speech import read_splits, searched
from stablequant.observe.cached import observe_once
from stablequant.observe.moments import moments_once
from stablequant.quantize.bits import average_bits
from stablequant.quantize.by_frame import by_frame
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.recipes import recipe
from stablequant.search.budget import within_budget
from stablequant.search.journal import Journal
from stablequant.search.objective import Divergence, TaskError
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import paired_bootstrap

#: Shares of float32's bytes.
BUDGETS = (0.25, 0.22, 0.2, 0.18, 0.17, 0.16)
#: What all linear layers have at once.
UNIFORM = {"8 bits everywhere": "w8a8", "4 bits by 32 everywhere": "w4a8", "weights alone, 4 bits by 32": "w4a16"}


class Study:
    """One model and its speech."""

    def __init__(self, model: str, data: list[str]) -> None:
        """Load both; what is observed is kept in build/bench."""
        self.model = load(model)
        self.settings = Settings.parse(dict(recipe("default").settings))
        speech, task, self.settings = read_splits(self.model.frontend, data, self.settings)
        folder = inputs.WORK / "frontier" / Path(model).name
        folder.mkdir(parents=True, exist_ok=True)
        self.histograms = observe_once(self.model, speech["calibration"], False, folder / "activations.npz")
        moments = moments_once(self.model, speech["calibration"], folder / "moments.safetensors")
        self.weights = WeightStore.of(self.model, moments)
        simulator, journal = Simulator(self.model, weights=self.weights), Journal(folder / "trials.sqlite")
        dev = searched(speech["dev"], self.settings)
        self.dev = Trials(simulator, dev, self.settings, Divergence(), journal)
        self.test = Trials(simulator, speech["test"], self.settings, TaskError(task), journal)

    def uniform(self, bits: str) -> Scheme:
        """A scale a frame, or a block where weights have groups, and one width."""
        settings = self.settings.updated(scales="frame", strategy="none", bits=bits)
        found = by_frame(self.model, self.histograms, settings)
        return {op.name: found[op.name] for op in self.model.ops()}

    def within(self, share: float) -> Scheme:
        """The best choice of widths."""
        settings = self.settings.updated(target_bytes=share)
        return within_budget(self.dev, self.histograms, settings).chosen.candidate.scheme

    def row(self, name: str, scheme: Scheme) -> dict[str, Any]:
        """All that is told of one scheme."""
        candidates = [Candidate("float", {}), Candidate(name, scheme)]
        _, near = self.dev.run(candidates, name)
        before, after = self.test.run(candidates, name)
        difference = paired_bootstrap(before.score, after.score)
        held = self.model.layer_weights()
        bits, count = average_bits(held, scheme), sum(weight.numel() for weight in held.values())
        small = {layer: s for layer, s in scheme.items() if s.weight and s.weight.bits < 8}
        return {
            "name": name,
            "bytes_ratio": round((self.model.float_bytes - 4 * count + bits * count / 8) / self.model.float_bytes, 4),
            "bits": round(bits, 3),
            "layers_below_8_bits": len(small),
            "divergence": round(near.score.rate, 6),
            "wer": round(after.score.rate, 4),
            "delta": round(difference.delta, 4),
            "delta_interval": [round(difference.low, 4), round(difference.high, 4)],
            "below_8_bits": sorted(small),
        }


def main() -> None:
    """Measure each budget that is not there yet."""
    parser = inputs.arguments_of(__doc__)
    inputs.add_model(parser)
    inputs.add_data(parser)
    parser.add_argument("--name", help="of the model in the result; default: its folder's")
    arguments = parser.parse_args()
    study, name = Study(arguments.model, inputs.sources(arguments)), arguments.name or Path(arguments.model).name
    path = RESULTS / "frontier.json"
    result: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"models": {}}
    (reference,) = study.test.run([Candidate("float", {})], "float")
    found = result["models"].setdefault(
        name,
        {
            "command": command(),
            "data": [Path(source).name for source in inputs.sources(arguments)],
            "float_wer": round(reference.score.rate, 4),
            "words": int(reference.score.total),
            "utterances": len(reference.score.ids),
            "rows": [],
        },
    )
    done = {row["name"] for row in found["rows"]}
    makers = {name: (lambda bits=bits: study.uniform(bits)) for name, bits in UNIFORM.items()}
    makers |= {f"at most {share:g} of the bytes": (lambda share=share: study.within(share)) for share in BUDGETS}
    for row, make in makers.items():
        if row not in done:
            found["rows"].append(study.row(row, make()))
            save("frontier", {key: value for key, value in result.items() if key != "machine"})
    plot("frontier")
    print(table("frontier"))


if __name__ == "__main__":
    main()
