"""Files that quantize wrote, beside float32: words, speed, bytes, in each runtime that they are for.

    stablequant quantize examples/moonshine-tiny --data examples/asterisk --out build/bench/4-bits --bits w4a8
    stablequant export build/bench/4-bits --target openvino
    python bench/running.py demo-out build/bench/4-bits

All runs are of one checkpoint. Words are those of the test speech, each difference to float32 in ONNX Runtime with its paired
95 % interval; times are end to end, on recordings of all lengths, in turns: one thread, one recording at a time. Adds a model to
bench/results/running.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from inputs import add_data, arguments_of, sources
from peers.measured import IN, measured, of_runs
from result_path import command, result_path, save
from tables.running import table

from stablequant.export import package
from stablequant.export.targets import TARGETS
from stablequant.jobs.open import open_plan
from stablequant.jobs.speech import read_splits
from stablequant.runtime.processor import machine
from stablequant.settings import Settings


def main() -> None:
    """Measure the files of the runs."""
    parser = arguments_of(__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="folders that stablequant quantize wrote, of one checkpoint")
    parser.add_argument("--checkpoint", default="", help="where the float checkpoint is now")
    add_data(parser)
    parser.add_argument("--count", type=int, default=0, help="test recordings; default: all")
    parser.add_argument("--timed", type=int, default=8, help="recordings that are timed; default: 8")
    parser.add_argument("--rounds", type=int, default=5, help="of the timing; default: 5")
    arguments = parser.parse_args()
    plan, model = open_plan(arguments.runs[0], arguments.checkpoint, folded=False)
    data = sources(arguments)
    speech, task, _ = read_splits(model.frontend, data, Settings(batch_size=1))
    test = speech["test"].first(arguments.count) if arguments.count else speech["test"]
    with TemporaryDirectory(prefix="stablequant-") as work:
        plain = {name: package.write_graphs(model, None, Path(work), TARGETS[name]) for name in IN}
        found = [row("float32", model, plain[name], int8=False) for name, row in IN.items()]
        found += of_runs(model, arguments.runs)
        rows, scores, _ = measured(found, test, task, arguments.timed, arguments.rounds)
    path = result_path("running", timed=True)
    models: dict[str, Any] = json.loads(path.read_text())["models"] if path.is_file() else {}
    models[Path(plan.model.name).name] = {
        "command": command(),
        "data": [Path(source).name for source in data],
        "words": int(scores[0].total),
        "utterances": len(test.utterances),
        "timed": arguments.timed,
        "rounds": arguments.rounds,
        "machine": machine(),
        "rows": rows,
    }
    print(table(save("running", {"models": models}, timed=True)))


if __name__ == "__main__":
    main()
