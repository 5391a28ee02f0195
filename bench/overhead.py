"""What transcribing a folder costs beyond the runtime itself, and what batches by length gain over one file at a time.

    python bench/overhead.py build/bench/moonshine-tiny-planes build/bench/wavlm-graft-planes --data examples/asterisk

Every call into the runtime is timed on its own; what is left of the whole is ours: features, padding, decoding, text. Reading
the recordings is told apart. One thread; the median of three rounds. Writes bench/results/overhead.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does

from where import result_file  # noqa: E402

from stablequant.data import manifest  # noqa: E402
from stablequant.data.speech import Speech  # noqa: E402
from stablequant.data.splits import make_splits  # noqa: E402
from stablequant.errors import ModelError  # noqa: E402
from stablequant.families.checkpoint import load_frontend  # noqa: E402
from stablequant.families.frontend import Frontend  # noqa: E402
from stablequant.jobs.quantize import decode  # noqa: E402
from stablequant.report.tables import table  # noqa: E402
from stablequant.runtime.processor import machine  # noqa: E402
from stablequant.runtime.registry import installed, open_exported  # noqa: E402
from stablequant.runtime.transcribe import transcribe  # noqa: E402
from stablequant.settings import Settings  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
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
    wholes, raws = [], []
    for turn in range(ROUNDS + 1):
        for clock in clocks:
            clock.seconds = 0.0
        began = time.perf_counter()
        transcribe(frontend, backend, speech)
        if turn:  # the first warms up
            wholes.append(time.perf_counter() - began)
            raws.append(sum(clock.seconds for clock in clocks))
    return statistics.median(wholes), statistics.median(raws)


def main() -> None:
    """Measure every folder in every runtime that it has files for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--count", type=int, default=64, help="recordings, from the test split")
    arguments = parser.parse_args()
    chosen = make_splits(manifest.load(arguments.data), 0).test[: arguments.count]
    rows = []
    for folder in arguments.folders:
        frontend = load_frontend(folder)
        began = time.perf_counter()
        together = decode(frontend, {"test": chosen}, Settings())["test"]
        reading = time.perf_counter() - began
        alone = decode(frontend, {"test": chosen}, Settings(batch_size=1))["test"]
        for runtime in installed():
            try:
                backend = open_exported(folder, frontend.shape, runtime=runtime, threads=1)
            except ModelError:
                continue
            clocks = timed(backend)
            whole, raw = measure(frontend, backend, clocks, together)
            whole_alone, raw_alone = measure(frontend, backend, clocks, alone)
            rows.append(
                {
                    "model": folder.name,
                    "runtime": backend.name,
                    "recordings": len(together.utterances),
                    "audio_seconds": round(together.seconds, 2),
                    "batches": len(together.batches),
                    "runtime_seconds": round(raw, 4),
                    "transcribe_seconds": round(whole, 4),
                    "overhead": round((whole - raw) / raw, 5),
                    "reading_seconds": round(reading, 4),
                    "one_at_a_time_seconds": round(whole_alone, 4),
                    "one_at_a_time_overhead": round((whole_alone - raw_alone) / raw_alone, 5),
                }
            )
    result = {"data": arguments.data, "rounds": ROUNDS, "machine": machine(), "rows": rows}
    result_file("overhead").write_text(json.dumps(result, indent=1) + "\n")
    cells = [
        [
            r["model"],
            r["runtime"],
            f"{r['transcribe_seconds']:.2f}",
            f"{r['overhead']:.2%}",
            f"{r['one_at_a_time_seconds']:.2f}",
            f"{r['one_at_a_time_overhead']:.2%}",
            f"{r['reading_seconds']:.2f}",
        ]
        for r in rows
    ]
    head = ["", "runtime", "batches s", "beyond the runtime", "one by one s", "beyond the runtime", "reading s"]
    print(table(head, cells))


if __name__ == "__main__":
    main()
