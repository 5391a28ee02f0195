"""What do the clips of sensitive layers clip: noise, or phonetics? And do words that hold it go wrong?

    python bench/clipped.py                                            # Moonshine tiny on the embedded test speech
    python bench/clipped.py MODEL --data SOURCE --utterances 64 --p 0.3 --name NAME

The plan is that of the paper, made without its search: the convolutions, which stage 1 flags in both models here
(bench/recipes.py), are clipped at one p, all other layers have the scale of least squared error.

Writes bench/results/clipped.json, other models in it left as they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from inputs import add_data, add_model, arguments_of, sources
from result_path import RESULTS, command, save
from tables.clipped import table

from stablequant.cli.console import ProgressLine
from stablequant.data import manifest
from stablequant.data.splits import make_splits
from stablequant.families.checkpoint import load
from stablequant.jobs.clipped import look
from stablequant.jobs.speech import decode
from stablequant.observe.collect import observe
from stablequant.quantize import calibrated
from stablequant.quantize.simulate import Simulator
from stablequant.runtime.processor import machine
from stablequant.settings import Settings
from stablequant.tasks.rules import resolve

#: Recordings that grids are made from.
CALIBRATION = 64
#: Layers that are told of beside the flagged ones.
OTHERS = 10


def told(rows: list[dict[str, Any]], flagged: list[str]) -> list[dict[str, Any]]:
    """The flagged layers, and of the others, whose grids have least squared error, those that clip most of their frames."""
    others = sorted(
        (r for r in rows if r["layer"] not in flagged), key=lambda r: r["clipped_frames"] / r["frames"], reverse=True
    )
    return [r for r in rows if r["layer"] in flagged] + others[:OTHERS]


def main() -> None:
    """Measure one model."""
    parser = arguments_of(__doc__)
    add_model(parser)
    add_data(parser)
    parser.add_argument("--utterances", type=int, default=64, help="test utterances, drawn with the seed")
    parser.add_argument("--p", type=float, default=0.3, help="per cent of the mass that is clipped")
    parser.add_argument("--name", help="of the model in the result; default: the folder's")
    arguments = parser.parse_args()
    model, data, settings = load(arguments.model), sources(arguments), Settings()
    splits = make_splits(manifest.load(data), settings.data.seed)
    read = decode(model.frontend, None, {"calibration": splits.calibration, "test": splits.test}, settings)
    chosen = {
        name: read[name].part(read[name].draw(count, 0), 1, settings.data.batch_seconds)
        for name, count in (("calibration", CALIBRATION), ("test", arguments.utterances))
    }
    histograms = observe(model, ([w] for w in chosen["calibration"].waveforms))
    flagged = [op.name for op in model.ops() if op.node.kind == "conv1d" and op.node.attrs["groups"] == 1]
    base = calibrated.uniform(histograms, "mse", settings)
    scheme = calibrated.mixed(base, histograms, calibrated.same_p(flagged, arguments.p), settings)
    speech = chosen["test"]
    texts = [u.text for u in speech.utterances if u.text is not None]
    rules = resolve(settings.data.normalizer, settings.data.written, texts) if texts else None
    found = look(Simulator(model, matmuls=True), scheme, flagged, speech, rules, ProgressLine())
    for run in found["runs"].values():
        run["layers"] = told(run["layers"], flagged)
    path = RESULTS / "clipped.json"
    models: dict[str, Any] = json.loads(path.read_text())["models"] if path.is_file() else {}
    models[arguments.name or Path(arguments.model).name] = {
        "sources": [Path(source).stem for source in data],
        "p": arguments.p,
        "recordings": len(speech.utterances),
        "seconds": round(speech.seconds, 1),
        **found,
        "command": command(),
        "machine": machine(),
    }
    save("clipped", {"models": models})
    print(table("clipped"))


if __name__ == "__main__":
    main()
