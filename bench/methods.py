"""The main table: float32, max, percentile, mse and stablequant, every operation in 8 bits, and the int8 file.

    python bench/methods.py                                    # Moonshine tiny on the embedded speech
    python bench/methods.py MODEL --data SOURCE --data SOURCE --set planes=2 --name NAME

Searches on the dev speech, reports on the test speech, and writes bench/results/methods-NAME.json. The work, with the int8
files, is kept in build/bench/NAME: a stopped run goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from inputs import WORK, add_data, add_model, add_settings, arguments_of, settings_of, sources
from result_path import command, load_result, save

from stablequant.cli.console import ProgressLine
from stablequant.jobs.quantize import quantize
from stablequant.report.results import read_summary
from stablequant.report.tables import methods
from stablequant.report.write import write_reports
from stablequant.search.pools import LocalPool
from stablequant.search.stage1 import Sensitivity
from stablequant.settings import Settings


def require_same(name: str, found: dict[str, Any], summary: dict[str, Any]) -> None:
    """Refuse a stage 1 of another model or other speech."""
    pairs = {"model": (found["model"], summary["model"])}
    pairs |= {split: (found["data"][split], summary["data"][split]) for split in ("calibration", "dev")}
    for kind, (a, b) in pairs.items():
        if a["fingerprint"] != b["fingerprint"]:
            sys.exit(f"stage 1 of {name} was measured on another {kind}; run without --stage-1")


def stage_1(found: dict[str, Any], settings: Settings) -> list[Sensitivity]:
    """What stage 1 found in a finished run with the same grids, from its result."""
    rate = found["dev"]["float_wer"]
    return [Sensitivity(layer, rate + d, d, d > settings.search.gamma) for layer, d in found["sensitivity"].items()]


def main() -> None:
    """Run one model and write its table."""
    parser = arguments_of(__doc__)
    add_model(parser)
    add_data(parser)
    add_settings(parser)
    parser.add_argument("--workers", type=int, default=1, help="processes that share the trials")
    parser.add_argument("--name", help="of the result; default: the model's")
    parser.add_argument("--stage-1", metavar="NAME", help="take stage 1 from bench/results/methods-NAME.json of before")
    arguments = parser.parse_args()
    name = arguments.name or Path(arguments.model).name
    settings, data = settings_of(arguments), sources(arguments)
    before = load_result(f"methods-{arguments.stage_1}") if arguments.stage_1 else None
    evidence = quantize(
        arguments.model,
        data,
        WORK / name,
        settings,
        command=command(),
        known=stage_1(before, settings) if before else None,
        pool=LocalPool(arguments.workers),
        report=write_reports,
        progress=ProgressLine(),
    )
    summary = read_summary(WORK / name)
    if before:
        require_same(arguments.stage_1, before, summary)
    for split in ("calibration", "dev", "test"):
        summary["data"][split]["sources"] = [Path(source).stem for source in data]
    summary["sensitivity"] = {layer.name: layer.sensitivity for layer in evidence.plan.layers}
    summary["p_curve"] = [
        {"p": sorted(set(t.p.values())), "wer": round(t.rate, 4), "character_edits": t.tie_break}
        for t in evidence.search.stage2.trials
    ]
    save(f"methods-{name}", summary)
    print(methods(summary))


if __name__ == "__main__":
    main()
