"""Each recipe on a real model: words in simulation and in the file, minutes, speed.

    python bench/recipes.py                                                # Moonshine tiny on the embedded speech, all recipes
    python bench/recipes.py MODEL --data SOURCE --data SOURCE --recipes fast --name NAME
    python bench/recipes.py --recipes paper --set objective=divergence --label "by divergence"

Writes bench/results/recipes.json, other models and recipes in it left as they are. The work is kept in build/bench.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from inputs import WORK, add_data, add_model, add_settings, arguments_of, settings_of, sources
from result_path import RESULTS, command, save
from tables.recipes import table

from stablequant.cli.console import ProgressLine
from stablequant.jobs.evidence import Evidence
from stablequant.jobs.quantize import quantize
from stablequant.recipes import RECIPES, recipe
from stablequant.report.results import read_summary
from stablequant.report.write import write_reports
from stablequant.runtime.processor import machine
from stablequant.search.pools import LocalPool
from stablequant.settings import Settings


def row(evidence: Evidence, summary: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What a recipe came to."""
    simulated, file = summary["methods"]["stablequant"], summary["int8_file"]
    single = [layer for layer in evidence.plan.layers if layer.activations and _one_code(layer.activations)]
    return {
        "delta": simulated["delta"],
        "delta_interval": simulated["delta_interval"],
        "file_delta": file["delta"],
        "file_delta_interval": file["delta_interval"],
        "identical": file["transcripts_identical_to_simulation"],
        "search_seconds": summary["search"]["seconds"],
        "evaluations": summary["search"]["evaluations"],
        "seconds": round(seconds, 1),
        "speedup": file["speedup"],
        "bytes_ratio": file["bytes_ratio"],
        "single_code_ops": len(single),
        "ops": summary["ops"],
        "float": summary["float"]["rate"],
        "utterances": summary["float"]["utterances"],
        "words": summary["float"]["words"],
        "runtime": file["runtime"],
        "command": command(),
        "machine": machine(),
    }


def _one_code(activations: Any) -> bool:
    return all(a.kind != "static" or a.planes == 1 for a in activations)


def main() -> None:
    """Run the recipes on one model."""
    parser = arguments_of(__doc__)
    add_model(parser)
    add_data(parser)
    parser.add_argument("--recipes", default=",".join(RECIPES), help="some of these, with commas")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--name", help="of the model in the result; default: the folder's")
    parser.add_argument("--label", default="", help="added to the recipe's name where --set changes it")
    add_settings(parser)
    arguments = parser.parse_args()
    name, data = arguments.name or Path(arguments.model).name, sources(arguments)
    path = RESULTS / "recipes.json"
    models: dict[str, Any] = json.loads(path.read_text())["models"] if path.is_file() else {}
    for chosen in map(recipe, arguments.recipes.split(",")):
        began = time.perf_counter()
        label = " ".join(filter(None, (chosen.name, arguments.label)))
        folder = WORK / f"{name}-{label.replace(' ', '-')}"
        settings = Settings.parse({**chosen.settings, **settings_of(arguments).model_dump(exclude_unset=True)})
        evidence = quantize(
            arguments.model,
            data,
            folder,
            settings,
            pool=LocalPool(arguments.workers),
            report=write_reports,
            progress=ProgressLine(),
        )
        found = row(evidence, read_summary(folder), time.perf_counter() - began)
        model = models.setdefault(name, {"recipes": {}})
        model["recipes"][label] = found
        model["sources"] = [Path(source).stem for source in data]
        save("recipes", {"models": models})
    print(table("recipes"))


if __name__ == "__main__":
    main()
