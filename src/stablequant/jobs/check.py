"""Before a file is handed over: it runs, says what the simulation says, and is timed against float in the same runtime."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stablequant.export import agreement, package
from stablequant.export.agreement import Agreement
from stablequant.families.model import SpeechModel
from stablequant.jobs.evaluate import evaluate_on
from stablequant.jobs.evidence import Job
from stablequant.measure.latency import interleaved
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.tasks.task import Evaluation

#: Test utterances that speed is measured on.
TIMED = 8


def check(
    job: Job, files: Mapping[str, Path], backend: OnnxRuntimeBackend, known: Mapping[str, Evaluation]
) -> tuple[Evaluation, list[Agreement], Sequence[str]]:
    """The int8 files' result on test, compared with the simulation and with the same files run as written.

    Also what is wrong with it beyond its score when compared with float: the plan's doing, not the file's.

    Args:
        job: What is run.
        files: The int8 files.
        backend: Runs them.
        known: What "float" and the simulated "stablequant" said.

    Raises:
        VerificationError: The file does not say what the simulation says.
    """
    frontend, speech, tolerance = job.model.frontend, job.speech["test"], job.settings.check.tolerance

    def evaluated(backend: OnnxRuntimeBackend, title: str) -> Evaluation:
        return evaluate_on(frontend, backend, job.task, speech, job.progress, title)

    result = evaluated(backend, "int8 file on test")
    plain = evaluated(OnnxRuntimeBackend(files, optimise=False), "int8 file, unoptimised")
    agreements = [
        agreement.compare(result, known["stablequant"], "the simulation", tolerance),
        agreement.compare(result, plain, "ONNX Runtime without optimisation", tolerance),
    ]
    alarms = job.task.alarms(result.answers, known["stablequant"].answers, "the simulation")
    agreement.require(agreements, alarms, str(next(iter(files.values())).parent))
    return result, agreements, job.task.alarms(result.answers, known["float"].answers, "the float model")


@contextmanager
def float_files(model: SpeechModel, folder: Path) -> Iterator[Mapping[str, Path]]:
    """The files of ``model`` in float, as its checkpoint has it, in a ``folder`` that goes with the context.

    Their weights lie beside them: ONNX Runtime maps these, and lets go of them once it has arranged them in its own way.
    """
    try:
        yield package.write_graphs(model, None, folder, most=0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure_speed(job: Job, backend: OnnxRuntimeBackend, floats: Mapping[str, Path]) -> dict[str, list[float]]:
    """Seconds of the float and the int8 files in the same runtime, on a few test utterances of every length."""
    frontend, reference = job.model.frontend, OnnxRuntimeBackend(floats)
    recognisers: dict[str, Callable[[Any], object]] = {
        "float": lambda w: frontend.recognize(reference, [w]),
        "int8": lambda w: frontend.recognize(backend, [w]),
    }
    return interleaved(recognisers, job.speech["test"].sample(TIMED))
