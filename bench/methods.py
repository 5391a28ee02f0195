"""The main table: float32, max, percentile, mse and stablequant, every operation in 8 bits, and the int8 file.

    python bench/methods.py moonshine-tiny            # about an hour on two cores
    python bench/methods.py wavlm-graft

Searches on the dev speech of all sets in ../shared/assets/speech, reports on all their test speech, and writes
bench/results/methods-MODEL.json. The work is kept in build/bench/: a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does

from stablequant.cli.console import ProgressLine  # noqa: E402
from stablequant.config import Settings  # noqa: E402
from stablequant.pipeline import quantize  # noqa: E402
from stablequant.report.tables import methods  # noqa: E402
from stablequant.report.write import write_reports  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT.parent / "shared" / "assets" / "speech"
MODELS = {"moonshine-tiny": "examples/moonshine-tiny", "wavlm-graft": "tests/assets/wavlm-graft"}
#: The same recording as CINTR212, which is in the test split.
DROPPED = {"CDINT201"}


def manifests(folder: Path) -> list[str]:
    """One manifest a set, with absolute paths and without what would overlap."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for source in sorted(SPEECH.glob("*/manifest.jsonl")):
        rows = [json.loads(line) for line in source.read_text().splitlines()]
        kept = [{**row, "audio": str(source.parent / row["audio"])} for row in rows if row["id"] not in DROPPED]
        path = folder / f"{source.parent.name}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
        paths.append(str(path))
    return paths


def main() -> None:
    """Run one model and write its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings")
    parser.add_argument("--name", help="of the result; default: the model's")
    arguments = parser.parse_args()
    name = arguments.name or arguments.model
    work = ROOT / "build" / "bench" / name
    settings = Settings.parse(dict(pair.split("=", 1) for pair in arguments.settings))
    evidence = quantize(
        str(ROOT / MODELS[arguments.model]),
        manifests(ROOT / "build" / "bench" / "manifests"),
        work,
        settings,
        command=f"python bench/methods.py {arguments.model}" + "".join(f" --set {s}" for s in arguments.settings),
        progress=ProgressLine(),
    )
    summary = write_reports(evidence, work)
    summary["model"]["name"] = MODELS[arguments.model]
    for split in ("calibration", "dev", "test"):
        summary["data"][split]["name"] = "asterisk, fotaq, librivox5, sky"
    summary["sensitivity"] = {layer.name: layer.sensitivity for layer in evidence.plan.layers}
    summary["p_curve"] = [
        {"p": sorted(set(t.p.values())), "wer": round(t.wer, 4), "cer": round(t.cer, 4)} for t in evidence.search.trials
    ]
    result = ROOT / "bench" / "results" / f"methods-{name}.json"
    result.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    print(methods(summary))


if __name__ == "__main__":
    main()
