"""How fast exported files are: every runtime, int8 beside float, in turns on the same speech.

The float side is the same graph, written without a plan. Its fastest runtime in a case is that case's baseline. All decoders take
as many steps as its own.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.data.batching import batches
from stablequant.errors import SettingsError
from stablequant.export import package
from stablequant.export.targets import require_target
from stablequant.families.frontend import Frontend
from stablequant.families.model import SpeechModel
from stablequant.jobs.open import open_plan
from stablequant.jobs.speech import recordings_of
from stablequant.measure import fixed_steps, footprint
from stablequant.measure.latency import interleaved
from stablequant.network.backend import Backend
from stablequant.progress import Progress, silent
from stablequant.runtime.processor import machine
from stablequant.runtime.registry import BFLOAT16, RUNTIMES, file_names, installed, size, target_of
from stablequant.settings import DataSettings

#: Recordings that mixed lengths are measured on.
MIXED = 32
#: The word for them among lengths.
REAL = "real"


@dataclass(frozen=True)
class System:
    """One set of files in one runtime."""

    name: str
    runtime: str
    int8: bool
    files: Mapping[str, Path]

    @property
    def is_float32(self) -> bool:
        """Whether it can be the baseline."""
        return not self.int8 and not self.runtime.endswith(BFLOAT16)

    @property
    def bytes(self) -> int:
        """Of its files."""
        return size(self.files.values())


@dataclass(frozen=True)
class Case:
    """What is transcribed: ``seconds`` of audio, or "real" recordings of mixed lengths, ``batch`` at a time."""

    seconds: float | str
    batch: int
    threads: int


def benchmark(
    folders: Sequence[Path],
    *,
    against: str = "",
    sources: Sequence[str] = (),
    seconds: Sequence[float | str] = (2.0, 10.0, 30.0, REAL),
    batch: Sequence[int] = (1, 8),
    threads: Sequence[int] = (1, 2),
    rounds: int = 5,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Time the int8 files of ``folders`` in every runtime that they have files for, beside the float model.

    Args:
        folders: That quantize wrote, all from one checkpoint.
        against: Where the float checkpoint is now; default: where the plans were made from it.
        sources: Speech to transcribe; default: what the first plan was made with.
        seconds: Lengths of audio; "real" takes recordings as they are.
        batch: Recordings at a time.
        threads: Of the runtime.
        rounds: Measured, after one that warms up.
        progress: Told what is running.

    Raises:
        SettingsError: The folders are of different checkpoints.
        ResourceError: The process that measures memory died.
    """
    plans = [open_plan(folder, against, folded=False) for folder in folders]
    if len({model.fingerprint for _, model in plans}) > 1:
        what = f"{', '.join(map(str, folders))} were made from different checkpoints"
        raise SettingsError(what, expected="folders of one checkpoint", fix="benchmark them one at a time")
    plan, model = plans[0]
    sounds = recordings_of(folders[0], plan, model.frontend, sources, MIXED)
    cases = [Case(s, b, t) for t in threads for b in batch for s in seconds]
    with TemporaryDirectory(prefix="stablequant-") as work:
        systems = [
            *_float(model, Path(work)),
            *(s for folder in folders for s in _int8(folder, model.frontend.head.graphs)),
        ]
        measured = list(_measure(systems, cases, model.frontend, sounds, rounds, progress))
        costs = [footprint.measure(s.files, s.runtime, model.frontend) for s in systems]
        return {
            "model": plan.model.name,
            "rounds": rounds,
            "machine": machine(),
            "systems": [
                {"name": s.name, "runtime": _version(s.runtime), "int8": s.int8, "bytes": s.bytes, **asdict(cost)}
                for s, cost in zip(systems, costs, strict=True)
            ],
            "cases": measured,
        }


def _version(runtime: str) -> str:
    return RUNTIMES[runtime]({}).name


def _float(model: SpeechModel, work: Path) -> list[System]:
    """The checkpoint in float, in every runtime that is installed, and in bfloat16 where the processor computes in it."""
    files = {target: package.write_graphs(model, None, work, require_target(target)) for target in installed()}
    return [
        System(
            f"{'bfloat16' if runtime.endswith(BFLOAT16) else 'float32'}, {target_of(runtime)}",
            runtime,
            False,
            files[target_of(runtime)],
        )
        for runtime in installed(bfloat16=True)
    ]


def _int8(folder: Path, graphs: Sequence[str]) -> list[System]:
    """The files of ``folder``, in every runtime that they are for and that is installed."""
    found = []
    for runtime in installed(bfloat16=True):
        files = {graph: folder / name for graph, name in file_names(graphs, runtime).items()}
        if all(path.is_file() for path in files.values()):
            found.append(System(f"{folder.name}, {runtime}", runtime, True, files))
    return found


def _measure(
    systems: Sequence[System],
    cases: Sequence[Case],
    frontend: Frontend,
    sounds: Sequence[NDArray[np.float32]],
    rounds: int,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    """The cases in turn; those with the same number of threads, which stand together, share their sessions."""
    recognisers: dict[str, Callable[[Any], object]] = {}
    backends: dict[str, Backend] = {}
    threads = 0
    for done, case in enumerate(cases):
        progress("benchmark", done, len(cases))
        if case.threads != threads:
            threads = case.threads
            backends = {s.name: RUNTIMES[s.runtime](s.files, threads=threads) for s in systems}
            recognisers = {n: lambda item, b=b: fixed_steps.run(frontend, b, *item) for n, b in backends.items()}  # type: ignore[misc]
        groups = _inputs(case, sounds, frontend.sampling_rate, frontend.bounds.padded)
        reference = backends[next(s.name for s in systems if s.is_float32)]
        inputs = [(group, fixed_steps.steps(frontend, reference, group)) for group in groups]
        audio = sum(len(w) for group in groups for w in group) / frontend.sampling_rate
        yield (
            asdict(case)
            | {"audio_seconds": round(audio, 2), "decoder_steps": sum(sum(steps) for _, steps in inputs)}
            | _result(interleaved(recognisers, inputs, rounds), audio, [s.name for s in systems if s.is_float32])
        )
    progress("benchmark", len(cases), len(cases))


def _inputs(
    case: Case, sounds: Sequence[NDArray[np.float32]], rate: int, window: float
) -> list[list[NDArray[np.float32]]]:
    """Recordings as they are, in the batches that `transcribe` makes, or one batch of as many seconds as wanted."""
    if case.seconds == REAL:
        lengths = [max(len(w), int(window * rate)) for w in sounds]
        groups = batches(lengths, case.batch, int(DataSettings().batch_seconds * rate))
        return [[sounds[i] for i in group] for group in groups]
    length = int(float(case.seconds) * rate)
    stream = np.concatenate(sounds)
    stream = np.tile(stream, -(-length * case.batch // len(stream)))
    return [[stream[i * length : (i + 1) * length] for i in range(case.batch)]]


def _result(seconds: Mapping[str, Sequence[float]], audio: float, floats: Sequence[str]) -> dict[str, Any]:
    """Median, fastest and slowest round of each system, and its speed as a multiple of the fastest float one's."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    best = min(floats, key=lambda name: medians[name])
    return {
        "best_float": best,
        "systems": [
            {
                "name": name,
                "seconds": round(medians[name], 5),
                "fastest": round(min(values), 5),
                "slowest": round(max(values), 5),
                "real_time_factor": round(medians[name] / audio, 6),
                "speedup": round(medians[best] / medians[name], 4),
            }
            for name, values in seconds.items()
        ],
    }
