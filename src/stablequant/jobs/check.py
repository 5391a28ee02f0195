"""Before a file is handed over: it runs, says what the simulation says, and is timed against float in the same runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stablequant.data.speech import Speech
from stablequant.export import agreement, package
from stablequant.families.frontend import Frontend
from stablequant.families.model import SpeechModel
from stablequant.measure.latency import interleaved
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.transcribe import transcribe
from stablequant.search.trials import Outcome, Progress
from stablequant.settings import Settings
from stablequant.tasks.asr import EvaluationResult
from stablequant.tasks.score import score


def check(
    frontend: Frontend,
    backend: OnnxRuntimeBackend,
    files: Mapping[str, Path],
    speech: Speech,
    outcomes: Mapping[str, Outcome],
    settings: Settings,
    aside: Path,
    progress: Progress,
) -> tuple[EvaluationResult, list[agreement.Verification], list[str]]:
    """The int8 files' result on test, held against the simulation and against the same files run as written.

    Also what is wrong with it beyond WER when held against float: the plan's doing, not the file's.
    """
    transcripts = transcribe(frontend, backend, speech, progress, "int8 file on test")
    result = score(speech, transcripts, settings.normalizer)
    plain = transcribe(frontend, OnnxRuntimeBackend(files, optimise=False), speech, progress, "int8 file, unoptimised")
    verifications = [
        agreement.compare(result, outcomes["stablequant"].result, "the simulation", settings.tolerance),
        agreement.compare(
            result, score(speech, plain, settings.normalizer), "ONNX Runtime without optimisation", settings.tolerance
        ),
    ]
    simulated = outcomes["stablequant"].transcripts
    agreement.require(verifications, agreement.alarms(transcripts, simulated, "the simulation"), str(aside))
    return result, verifications, agreement.alarms(transcripts, outcomes["float"].transcripts, "the float model")


def measure_speed(
    model: SpeechModel, backend: OnnxRuntimeBackend, folder: Path, speech: Speech, count: int = 8
) -> dict[str, list[float]]:
    """Seconds of the float and the int8 files in the same runtime, on a few test utterances of every length."""
    paths = package.write_graphs(model, None, folder)
    reference = OnnxRuntimeBackend(paths)
    recognisers: dict[str, Callable[[Any], object]] = {
        "float": lambda w: model.frontend.recognize(reference, [w]),
        "int8": lambda w: model.frontend.recognize(backend, [w]),
    }
    seconds = interleaved(recognisers, speech.sample(count))
    for path in paths.values():
        path.unlink()
    folder.rmdir()
    return seconds
