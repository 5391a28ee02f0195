"""What transcribing a folder costs beyond the runtime itself, and what batches by length gain over one file at a time.

    python bench/overhead.py demo-out --data examples/asterisk

Every call into the runtime is timed on its own; what is left of the whole is ours: features, padding, decoding, text. Reading
the recordings is reported apart. One thread; the median of three rounds. Writes bench/results/overhead.json.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inputs import RUN, add_data, arguments_of, sources, test_speech
from result_path import save
from tables import overhead

from stablequant.data.speech import Speech
from stablequant.errors import ModelError
from stablequant.families.checkpoint import load_frontend
from stablequant.families.frontend import Frontend
from stablequant.runtime.registry import installed, open_exported
from stablequant.runtime.transcribe import transcribe
from stablequant.settings import Settings

ROUNDS = 3


class Timed:
    """A session whose calls into the runtime are timed."""

    def __init__(self, session: Any) -> None:
        """Wrap ``session``."""
        self._session = session
        self.seconds = 0.0

    def _time(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        result = call(*args, **options)
        self.seconds += time.perf_counter() - began
        return result

    def run(self, *args: Any) -> Any:
        """ONNX Runtime's."""
        return self._time(self._session.run, *args)

    def infer(self, *args: Any, **options: Any) -> Any:
        """OpenVINO's."""
        return self._time(self._session.infer, *args, **options)


def timed(backend: Any) -> list[Timed]:
    """Put a clock around every session of ``backend``."""
    sessions = backend.sessions if hasattr(backend, "sessions") else backend.requests
    sessions.update({name: Timed(session) for name, session in sessions.items()})
    return list(sessions.values())


def measure(frontend: Frontend, backend: Any, clocks: list[Timed], speech: Speech) -> tuple[float, float]:
    """Median seconds of the whole, and of the runtime within."""
    wholes, within = [], []
    for turn in range(ROUNDS + 1):
        for clock in clocks:
            clock.seconds = 0.0
        began = time.perf_counter()
        transcribe(frontend, backend, speech)
        if turn:  # the first warms up
            wholes.append(time.perf_counter() - began)
            within.append(sum(clock.seconds for clock in clocks))
    return statistics.median(wholes), statistics.median(within)


def main() -> None:
    """Measure every folder in every runtime that it has files for."""
    parser = arguments_of(__doc__)
    parser.add_argument("folders", nargs="*", type=Path, default=[RUN], help="that stablequant quantize wrote")
    add_data(parser)
    parser.add_argument("--count", type=int, default=64, help="recordings, from the test split")
    arguments = parser.parse_args()
    rows, data = [], sources(arguments)
    for folder in arguments.folders:
        frontend = load_frontend(folder)
        began = time.perf_counter()
        together = test_speech(frontend, data, count=arguments.count)
        reading = time.perf_counter() - began
        alone = test_speech(frontend, data, Settings(batch_size=1), arguments.count)
        for runtime in installed():
            try:
                backend = open_exported(folder, frontend.head.graphs, runtime=runtime, threads=1)
            except ModelError:
                continue
            clocks = timed(backend)
            whole, within = measure(frontend, backend, clocks, together)
            whole_alone, within_alone = measure(frontend, backend, clocks, alone)
            rows.append(
                {
                    "model": folder.name,
                    "runtime": backend.name,
                    "recordings": len(together.utterances),
                    "audio_seconds": round(together.seconds, 2),
                    "batches": len(together.batches),
                    "runtime_seconds": round(within, 4),
                    "transcribe_seconds": round(whole, 4),
                    "overhead": round((whole - within) / within, 5),
                    "reading_seconds": round(reading, 4),
                    "one_at_a_time_seconds": round(whole_alone, 4),
                    "one_at_a_time_overhead": round((whole_alone - within_alone) / within_alone, 5),
                }
            )
    print(overhead.table(save("overhead", {"data": data, "rounds": ROUNDS, "rows": rows}, timed=True)))


if __name__ == "__main__":
    main()
