"""How far changes too small to hear move each model: what file and simulation can be expected to agree in.

    python bench/perturbation.py demo-out --data examples/asterisk

Each row compares two ways to transcribe the test speech: a model and itself when the audio is multiplied by 1 + 1e-6 noise; a
simulation and itself when the inputs of every operation are, which is what another order of sums amounts to; and the same model
in two runtimes. Reported are the share of transcripts that stay the same, the difference of WER, and the relative change of the
first graph's first output. Writes bench/results/perturbation.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
import numpy as np
import torch
from result_path import save
from tables import perturbation
from torch import Tensor

from stablequant.data.speech import Speech
from stablequant.export import package
from stablequant.families.frontend import Frontend
from stablequant.heads.head import Answer
from stablequant.jobs.open import open_plan, planned_weights, simulator
from stablequant.network.backend import Backend
from stablequant.network.execute import Operands, TorchBackend
from stablequant.network.graph import Node
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.registry import graph_files
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import paired_bootstrap
from stablequant.tasks.task import task_of

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
    """What is compared with what, and whether the second is given noisy audio."""
    plan, model = open_plan(arguments.run, arguments.checkpoint)
    weights = planned_weights(arguments.run, plan, model)
    simulated, scheme = simulator(model, plan.settings, weights), plan.scheme()
    in_float, planned = simulated.backend({}), simulated.backend(scheme)
    file = OnnxRuntimeBackend(graph_files(arguments.run, model.frontend.head.graphs))
    float_file = OnnxRuntimeBackend(package.write_graphs(model, None, work))
    return model.frontend, {
        "float, audio": (in_float, in_float, True),
        "plan simulated, audio": (planned, planned, True),
        "int8 file, audio": (file, file, True),
        "float, every operation": (in_float, TorchBackend(simulated.executors, noisy(None)), False),
        "plan simulated, every operation": (
            planned,
            TorchBackend(simulated.executors, noisy(simulated.operands(scheme))),
            False,
        ),
        "float, simulation against file": (in_float, float_file, False),
        "plan, simulation against int8 file": (planned, file, False),
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
    answers: list[dict[int, Answer]] = [{}, {}]
    changed = energy = 0.0
    for batch in speech.batches:
        sounds = speech.waveforms_of(batch)
        outputs = []
        for number, backend in enumerate(backends):
            if audio and number:
                noise = [1 + NOISE * random.standard_normal(len(w)) for w in sounds]
                sounds = [(w * n).astype(np.float32) for w, n in zip(sounds, noise, strict=True)]
            features = frontend.features(sounds)
            first = frontend.encode(backend, features)
            outputs.append(within(backend, first))
            answers[number].update(zip(batch, frontend.head.read(backend, first, features.sizes), strict=True))
        changed += float(((outputs[0] - outputs[1]) ** 2).sum())
        energy += float((outputs[0] ** 2).sum())
    one, other = ([found[i] for i in range(len(speech.utterances))] for found in answers)
    task = task_of(Settings().data)
    before, after = task.score(speech.utterances, one), task.score(speech.utterances, other)
    difference = paired_bootstrap(before, after)
    same = sum(a.text == b.text for a, b in zip(one, other, strict=True)) / len(one)
    return {
        "name": name,
        "words": int(before.total),
        "wer": round(before.rate, 4),
        "wer_difference": round(difference.delta, 4),
        "wer_difference_interval": [round(difference.low, 4), round(difference.high, 4)],
        "transcripts_identical": round(same, 4),
        "output_change": round((changed / energy) ** 0.5, 8),
    }


def main() -> None:
    """Measure every pair."""
    parser = inputs.arguments_of(__doc__)
    inputs.add_run(parser)
    inputs.add_data(parser)
    arguments = parser.parse_args()
    data = inputs.sources(arguments)
    with TemporaryDirectory(prefix="stablequant-") as work:
        frontend, found = pairs(arguments, Path(work))
        speech = inputs.test_speech(frontend, data)
        rows = [compare(n, frontend, speech, (a, b), audio=audio) for n, (a, b, audio) in found.items()]
    result = {
        "model": str(arguments.run),
        "data": data,
        "utterances": len(speech.utterances),
        "words": rows[0]["words"],
        "noise": NOISE,
        "rows": rows,
    }
    print(perturbation.table(save("perturbation", result)))


if __name__ == "__main__":
    main()
