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
from judging import bytes_ratio, difference
from result_path import RESULTS, command, save
from study import Study
from tables.frontier import plot, table

from stablequant.errors import SettingsError
from stablequant.quantize.bits import average_bits
from stablequant.quantize.scheme import Scheme
from stablequant.recipes import recipe
from stablequant.search.budget import within_budget
from stablequant.search.journal import Journal
from stablequant.search.objective import Divergence, TaskError
from stablequant.search.trials import Candidate
from stablequant.settings import Settings

#: Shares of float32's bytes.
BUDGETS = (0.25, 0.22, 0.2, 0.18, 0.17, 0.16)
#: What all linear layers have at once.
UNIFORM = {"8 bits everywhere": "w8a8", "4 bits by 32 everywhere": "w4a8", "weights alone, 4 bits by 32": "w4a16"}


class Frontier:
    """One model's choices, and what each comes to."""

    def __init__(self, model: str, data: list[str]) -> None:
        """Load model and speech; what is observed is kept in build/bench."""
        settings = Settings.parse(dict(recipe("default").settings))
        self.study = Study.read(model, data, settings, f"frontier/{Path(model).name}").folded(settings)
        kept = self.study.store(), Journal(self.study.folder / "trials.sqlite")
        self.dev = self.study.trials("dev", Divergence(), *kept)
        self.test = self.study.trials("test", TaskError(self.study.task), *kept)

    def uniform(self, bits: str) -> Scheme:
        """A scale a frame, or a block where weights have groups, and one width."""
        return self.study.by_frame(self.study.settings.updated(bits=bits))

    def within(self, share: float) -> Scheme:
        """The best choice of widths."""
        settings = self.study.settings.updated(target_bytes=share)
        return within_budget(self.dev, self.study.histograms, settings).chosen.candidate.scheme

    def row(self, name: str, scheme: Scheme) -> dict[str, Any]:
        """All that is told of one scheme."""
        candidates = [Candidate("float", {}), Candidate(name, scheme)]
        _, near = self.dev.run(candidates, name)
        before, after = self.test.run(candidates, name)
        model = self.study.model
        small = {layer: s for layer, s in scheme.items() if s.weight and s.weight.bits < 8}
        return {
            "name": name,
            "bytes_ratio": round(bytes_ratio(model, scheme), 4),
            "bits": round(average_bits(model.layer_weights(), scheme), 3),
            "layers_below_8_bits": len(small),
            "divergence": round(near.score.rate, 6),
            "wer": round(after.score.rate, 4),
            **difference(before.score, after.score),
            "below_8_bits": sorted(small),
        }


def main() -> None:
    """Measure each budget that is not there yet."""
    parser = inputs.arguments_of(__doc__)
    inputs.add_model(parser)
    inputs.add_data(parser)
    parser.add_argument("--name", help="of the model in the result; default: its folder's")
    arguments = parser.parse_args()
    study, name = Frontier(arguments.model, inputs.sources(arguments)), arguments.name or Path(arguments.model).name
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
        if row in done:
            continue
        try:
            scheme = make()
        except SettingsError as error:  # a budget below the narrowest weights
            print(f"{row}: {error}")
            continue
        found["rows"].append(study.row(row, scheme))
        save("frontier", {key: value for key, value in result.items() if key != "machine"})
    plot("frontier")
    print(table("frontier"))


if __name__ == "__main__":
    main()
