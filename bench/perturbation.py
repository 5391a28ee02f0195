"""How far a change too small to hear moves each model: what file and simulation can be expected to agree in.

    python bench/perturbation.py demo-out [--checkpoint MODEL] --data examples/asterisk

The audio of the test speech is multiplied by 1 + 1e-6 noise. Float, the plan in simulation, and its int8 files transcribe
both; told are the share of transcripts that stay the same, the difference of WER, and the relative change of the first
graph's first output. Writes bench/results/perturbation.json.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does

import numpy as np  # noqa: E402

from stablequant.config import Settings  # noqa: E402
from stablequant.data import manifest  # noqa: E402
from stablequant.data.splits import make_splits  # noqa: E402
from stablequant.evaluate.score import score  # noqa: E402
from stablequant.evaluate.significance import paired_bootstrap  # noqa: E402
from stablequant.pipeline import decode  # noqa: E402
from stablequant.quantize.plan import Plan  # noqa: E402
from stablequant.report.tables import table  # noqa: E402
from stablequant.runtime.processor import machine  # noqa: E402
from stablequant.serve import open_model  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
NOISE = 1e-6


def main() -> None:
    """Measure the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a finished stablequant quantize")
    parser.add_argument("--checkpoint", default="", help="where the float checkpoint is now")
    parser.add_argument("--data", action="append", required=True)
    arguments = parser.parse_args()
    checkpoint = arguments.checkpoint or Plan.load(Path(arguments.run) / "plan.json").model.name
    systems = {
        "float": open_model(checkpoint),
        "plan, simulated": open_model(arguments.run, simulate=True, checkpoint=checkpoint),
        "int8 file": open_model(arguments.run),
    }
    frontend = systems["float"][0]
    test = make_splits(manifest.load(arguments.data), 0).test
    speech = decode(frontend, {"test": test}, Settings())["test"]
    graph = "encoder" if frontend.shape == "seq2seq" else "model"
    rows = []
    for name, (_, backend, runtime) in systems.items():
        random = np.random.default_rng(0)
        texts: dict[str, dict[int, object]] = {"as it is": {}, "perturbed": {}}
        changed = energy = 0.0
        for shard in speech.shards:
            sounds = speech.batch(shard)
            noisy = [(w * (1 + NOISE * random.standard_normal(len(w)))).astype(np.float32) for w in sounds]
            outputs = []
            for label, waveforms in (("as it is", sounds), ("perturbed", noisy)):
                feeds = {k: backend.put(v) for k, v in frontend.features(waveforms).items()}
                first = backend.run(graph, feeds)
                outputs.append(np.asarray(backend.get(next(iter(first.values())))))
                texts[label].update(zip(shard, frontend.recognize(backend, waveforms), strict=True))
            changed += float(((outputs[0] - outputs[1]) ** 2).sum())
            energy += float((outputs[0] ** 2).sum())
        before, after = (
            score(speech, [found[i] for i in range(len(speech.utterances))], "english") for found in texts.values()
        )
        difference = paired_bootstrap(before, after)
        same = sum(a == b for a, b in zip(before.hypotheses, after.hypotheses, strict=True)) / len(before.ids)
        rows.append(
            {
                "name": name,
                "runtime": runtime,
                "wer": round(before.wer, 4),
                "wer_difference": round(difference.delta, 4),
                "wer_difference_interval": [round(difference.low, 4), round(difference.high, 4)],
                "transcripts_identical": round(same, 4),
                "output_change": round((changed / energy) ** 0.5, 7),
            }
        )
    result = {
        "model": checkpoint,
        "data": arguments.data,
        "utterances": len(speech.utterances),
        "words": before.total_words,
        "noise": NOISE,
        "machine": machine(),
        "rows": rows,
    }
    (ROOT / "bench" / "results" / "perturbation.json").write_text(json.dumps(result, indent=1) + "\n")
    cells = [
        [
            r["name"],
            f"{r['wer']:.2f}",
            f"{r['wer_difference']:+.2f}",
            f"{r['transcripts_identical']:.1%}",
            f"{r['output_change']:.2g}",
        ]
        for r in rows
    ]
    print(table(["", "WER %", "difference", "identical", "output moves by"], cells))


if __name__ == "__main__":
    main()
