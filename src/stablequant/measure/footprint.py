"""What it costs to have a model loaded: seconds and memory, measured in a process that does nothing else.

Memory that was used once stays in a process's peak, so each measurement gets a process of its own, without PyTorch.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from stablequant.errors import ResourceError
from stablequant.heads.head import Head
from stablequant.runtime.registry import RUNTIMES

if TYPE_CHECKING:
    from stablequant.families.frontend import Frontend


@dataclass(frozen=True)
class Footprint:
    """Cost of one model in one runtime.

    Attributes:
        load_seconds: From the files to a session that is ready.
        idle_rss_bytes: Resident memory of Python and the runtime's library alone, before anything is loaded.
        peak_rss_bytes: The most that was resident until one recording was through, the idle part included.
    """

    load_seconds: float
    idle_rss_bytes: int
    peak_rss_bytes: int


def measure(
    files: Mapping[str, Path], runtime: str, frontend: Frontend, *, seconds: float = 10.0, threads: int = 1
) -> Footprint:
    """Load ``files`` in a new process and run ``seconds`` of noise through them.

    Raises:
        ResourceError: The process died; most likely memory ran out.
    """
    samples = int(seconds * frontend.sampling_rate)
    noise = (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)
    head = frontend.head
    with TemporaryDirectory(prefix="stablequant-") as folder:
        feeds = Path(folder) / "feeds.npz"
        np.savez(feeds, allow_pickle=False, **frontend.features([noise]).feeds)
        task = {
            "files": {name: str(path) for name, path in files.items()},
            "runtime": runtime,
            "head": [type(head).__module__, type(head).__qualname__, head.constants()],
            "feeds": str(feeds),
            "steps": head.most_steps(samples),
            "threads": threads,
        }
        return _in_a_process(task)


def _in_a_process(task: Mapping[str, Any]) -> Footprint:
    command = [sys.executable, "-m", "stablequant.measure.footprint"]
    ran = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, check=False)
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or [""])[-1]
        what = f"the process that measured {', '.join(task['files'].values())} died (exit code {ran.returncode}) {last}"
        raise ResourceError(what, fix="free some memory, or benchmark fewer models at a time")
    return Footprint(**json.loads(ran.stdout.splitlines()[-1]))


def _measure_here(task: Mapping[str, Any]) -> Footprint:
    backend_of = RUNTIMES[task["runtime"]]
    backend_of({}, threads=task["threads"])  # brings the library in
    idle = _peak()
    began = time.perf_counter()
    backend = backend_of({name: Path(path) for name, path in task["files"].items()}, threads=task["threads"])
    loaded = time.perf_counter() - began
    module, name, constants = task["head"]
    head: Head = getattr(importlib.import_module(module), name).from_constants(constants)
    with np.load(task["feeds"], allow_pickle=False) as feeds:
        outputs = backend.run(head.graphs[0], dict(feeds))
    head.run_for(backend, outputs, [task["steps"]])
    return Footprint(loaded, idle, _peak())


def _peak() -> int:
    """The most memory that this process has had resident, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    # Elsewhere than on Linux this is in bytes; there it would include the process that started this one.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps(asdict(_measure_here(json.load(sys.stdin)))))
