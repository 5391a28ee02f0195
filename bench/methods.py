"""The main table: float32, max, percentile, mse and stablequant, every operation in 8 bits, and the int8 file.

    python bench/methods.py moonshine-tiny            # about an hour on two cores
    python bench/methods.py wavlm-graft

Searches on the dev speech of the sets in ../shared/assets/speech, reports on their test speech, and writes
bench/results/methods-MODEL.json. The work is kept in build/bench/: a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does

from stablequant.cli.console import ProgressLine  # noqa: E402
from stablequant.jobs.quantize import quantize  # noqa: E402
from stablequant.report.tables import methods  # noqa: E402
from stablequant.report.write import write_reports  # noqa: E402
from stablequant.search.pools import LocalPool  # noqa: E402
from stablequant.search.stage1 import Sensitivity  # noqa: E402
from stablequant.settings import Settings  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT.parent / "shared" / "assets" / "speech"
MODELS = {"moonshine-tiny": "examples/moonshine-tiny", "wavlm-graft": "tests/assets/wavlm-graft"}
#: The same recording as CINTR212, which is in the test split.
DROPPED = {"CDINT201"}


def manifests(folder: Path, sets: Sequence[str] = ()) -> list[str]:
    """One manifest a set (default: all), with absolute paths and without what would overlap."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for source in sorted(SPEECH.glob("*/manifest.jsonl")):
        if sets and source.parent.name not in sets:
            continue
        rows = [json.loads(line) for line in source.read_text().splitlines()]
        kept = [{**row, "audio": str(source.parent / row["audio"])} for row in rows if row["id"] not in DROPPED]
        path = folder / f"{source.parent.name}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
        paths.append(str(path))
    return paths


def require_same(name: str, summary: dict[str, Any]) -> None:
    """Refuse a stage 1 of another model or other speech."""
    found = json.loads((ROOT / "bench" / "results" / f"methods-{name}.json").read_text())
    for kind, a, b in (
        ("model", found, summary),
        *((s, found["data"], summary["data"]) for s in ("calibration", "dev")),
    ):
        if a[kind]["fingerprint"] != b[kind]["fingerprint"]:
            sys.exit(f"stage 1 of {name} was measured on another {kind}; run without --stage-1")


def stage_1(name: str, settings: Settings) -> list[Sensitivity]:
    """What stage 1 found in a finished run with the same grids, from its result."""
    found = json.loads((ROOT / "bench" / "results" / f"methods-{name}.json").read_text())
    wer = found["dev"]["float_wer"]
    return [Sensitivity(layer, wer + d, d, d > settings.gamma) for layer, d in found["sensitivity"].items()]


def main() -> None:
    """Run one model and write its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings")
    parser.add_argument("--speech", action="append", default=[], metavar="SET", help="default: all four")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the trials")
    parser.add_argument("--name", help="of the result; default: the model's")
    parser.add_argument("--stage-1", metavar="NAME", help="take stage 1 from bench/results/methods-NAME.json of before")
    arguments = parser.parse_args()
    name = arguments.name or arguments.model
    work = ROOT / "build" / "bench" / name
    settings = Settings.parse(dict(pair.split("=", 1) for pair in arguments.settings))
    known = stage_1(arguments.stage_1, settings) if arguments.stage_1 else None
    speech = manifests(ROOT / "build" / "bench" / "manifests", arguments.speech)
    evidence = quantize(
        str(ROOT / MODELS[arguments.model]),
        speech,
        work,
        settings,
        command=shlex.join(["python", "bench/methods.py", *sys.argv[1:]]),
        sensitivities=known,
        pool=LocalPool(arguments.workers),
        progress=ProgressLine(),
    )
    summary = write_reports(evidence, work)
    if arguments.stage_1:
        require_same(arguments.stage_1, summary)
    summary["model"]["name"] = MODELS[arguments.model]
    for split in ("calibration", "dev", "test"):
        summary["data"][split]["name"] = ", ".join(Path(path).stem for path in speech)
    summary["sensitivity"] = {layer.name: layer.sensitivity for layer in evidence.plan.layers}
    summary["p_curve"] = [
        {"p": sorted(set(t.p.values())), "wer": round(t.wer, 4), "cer": round(t.cer, 4)}
        for t in evidence.search.percentiles.trials
    ]
    result = ROOT / "bench" / "results" / f"methods-{name}.json"
    result.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    print(methods(summary))


if __name__ == "__main__":
    main()
