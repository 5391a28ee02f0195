"""How far changes too small to hear move each model: what file and simulation can be expected to agree in.

    python bench/perturbation.py demo-out [--checkpoint MODEL] --data examples/asterisk

Each row holds two ways to transcribe the test speech against each other: a model and itself when the audio is multiplied by
1 + 1e-6 noise; a simulation and itself when the inputs of every operation are, which is what another order of sums amounts to;
and the same model in two runtimes. Told are the share of transcripts that stay the same, the difference of WER, and the relative
change of the first graph's first output. Writes bench/results/perturbation.json.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from stablequant.data import manifest  # noqa: E402
from stablequant.data.speech import Speech  # noqa: E402
from stablequant.data.splits import make_splits  # noqa: E402
from stablequant.export import package  # noqa: E402
from stablequant.families.frontend import Frontend  # noqa: E402
from stablequant.heads.greedy import Backend  # noqa: E402
from stablequant.jobs.quantize import decode  # noqa: E402
from stablequant.jobs.serve import open_plan  # noqa: E402
from stablequant.network.execute import Operands, TorchBackend  # noqa: E402
from stablequant.network.graph import Node  # noqa: E402
from stablequant.quantize.simulate import Simulator  # noqa: E402
from stablequant.report.tables import table  # noqa: E402
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend  # noqa: E402
from stablequant.runtime.processor import machine  # noqa: E402
from stablequant.runtime.registry import graph_files  # noqa: E402
from stablequant.settings import Settings  # noqa: E402
from stablequant.tasks.bootstrap import paired_bootstrap  # noqa: E402
from stablequant.tasks.score import score  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
NOISE = 1e-6
#: Outputs that count frames.
LENGTHS = ("encoder_lengths", "frames")


def noisy(operands: Operands | None) -> Operands:
    """``operands`` with noise on what every operation reads."""
    random = torch.Generator().manual_seed(0)

    def shaken(x: Any) -> Any:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            return x
        return x * (1 + NOISE * torch.randn(x.shape, generator=random))

    def changed(node: Node, inputs: Any, weights: Any, lengths: Any) -> Any:
        inputs = tuple(map(shaken, inputs))
        return (inputs, weights) if operands is None else operands(node, inputs, weights, lengths)

    return changed


def pairs(arguments: argparse.Namespace, work: Path) -> tuple[Frontend, dict[str, tuple[Backend, Backend, bool]]]:
    """What is held against what, and whether the second hears noisy audio."""
    plan, model = open_plan(Path(arguments.run), arguments.checkpoint)
    simulator, scheme = Simulator.under(model, plan.settings), plan.scheme()
    in_float, simulated = simulator.backend({}), simulator.backend(scheme)
    file = OnnxRuntimeBackend(graph_files(Path(arguments.run), model.frontend.shape))
    float_file = OnnxRuntimeBackend(package.write_graphs(model, None, work))
    return model.frontend, {
        "float, audio": (in_float, in_float, True),
        "plan simulated, audio": (simulated, simulated, True),
        "int8 file, audio": (file, file, True),
        "float, every operation": (in_float, TorchBackend(simulator.executors, noisy(None)), False),
        "plan simulated, every operation": (
            simulated,
            TorchBackend(simulator.executors, noisy(simulator.operands(scheme))),
            False,
        ),
        "float, simulation against file": (in_float, float_file, False),
        "plan, simulation against int8 file": (simulated, file, False),
    }


def within(backend: Backend, outputs: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """The first output ``[B, ..., T, C]`` without what lies behind the end of an utterance, as one row of numbers."""
    lengths = next(backend.get(outputs[name]) for name in LENGTHS if name in outputs)
    first = backend.get(outputs[min(name for name in outputs if name not in LENGTHS)])
    return np.concatenate([row[..., :n, :].ravel() for row, n in zip(first, lengths.tolist(), strict=True)])


def compare(
    name: str, frontend: Frontend, speech: Speech, backends: tuple[Backend, Backend], *, audio: bool
) -> dict[str, Any]:
    """One row."""
    random = np.random.default_rng(0)
    graph = "encoder" if frontend.shape == "seq2seq" else "model"
    texts: list[dict[int, Any]] = [{}, {}]
    changed = energy = 0.0
    for batch in speech.batches:
        sounds = speech.waveforms_of(batch)
        outputs = []
        for backend, found in zip(backends, texts, strict=True):
            heard = sounds
            if audio and found is texts[1]:
                heard = [(w * (1 + NOISE * random.standard_normal(len(w)))).astype(np.float32) for w in sounds]
            feeds = {k: backend.put(v) for k, v in frontend.features(heard).items()}
            out = backend.run(graph, feeds)
            outputs.append(within(backend, out))
            found.update(zip(batch, frontend.recognize(backend, heard), strict=True))
        changed += float(((outputs[0] - outputs[1]) ** 2).sum())
        energy += float((outputs[0] ** 2).sum())
    before, after = (score(speech, [found[i] for i in range(len(speech.utterances))], "english") for found in texts)
    difference = paired_bootstrap(before, after)
    same = sum(a == b for a, b in zip(before.hypotheses, after.hypotheses, strict=True)) / len(before.ids)
    return {
        "name": name,
        "words": before.total_words,
        "wer": round(before.wer, 4),
        "wer_difference": round(difference.delta, 4),
        "wer_difference_interval": [round(difference.low, 4), round(difference.high, 4)],
        "transcripts_identical": round(same, 4),
        "output_change": round((changed / energy) ** 0.5, 8),
    }


def main() -> None:
    """Measure every pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a finished stablequant quantize")
    parser.add_argument("--checkpoint", default="", help="where the float checkpoint is now")
    parser.add_argument("--data", action="append", required=True)
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="stablequant-") as work:
        frontend, found = pairs(arguments, Path(work))
        test = make_splits(manifest.load(arguments.data), 0).test
        speech = decode(frontend, {"test": test}, Settings())["test"]
        rows = [compare(n, frontend, speech, (a, b), audio=audio) for n, (a, b, audio) in found.items()]
    result = {
        "model": arguments.run,
        "data": arguments.data,
        "utterances": len(speech.utterances),
        "words": rows[0]["words"],
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
