"""Write a folder's plan as files for another runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stablequant.export import package, parity
from stablequant.export.run_folder import RunFolder, require_whole
from stablequant.export.targets import require_target
from stablequant.jobs.open import open_plan, planned_weights, simulator
from stablequant.jobs.speech import recordings_of
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.registry import RUNTIMES, size

#: Recordings that an export is checked on.
CHECKED = 8


def export(
    folder: Path, target: str, *, checkpoint: str = "", sources: Sequence[str] = (), wait: bool = False
) -> dict[str, Any]:
    """Write the plan of ``folder`` as files for ``target`` into it, once they have passed their check.

    Args:
        folder: What quantize wrote.
        target: "onnxruntime", "openvino", "tensorrt", or one that was registered.
        checkpoint: Where the float checkpoint is now; default: where the plan was made from it.
        sources: Speech to check the files on; default: what the plan was made with.
        wait: Whether to wait for another command that holds the folder, instead of refusing.

    Raises:
        ExportError: The plan has something that the target does not take.
        MissingRuntimeError: The target's runtime is not installed, so the files cannot be checked.
        VerificationError: The files do not compute what the plan says.
    """
    chosen = require_target(target)
    plan, model = open_plan(folder, checkpoint)
    chosen.check(plan)
    require_whole(folder, [])
    weights = planned_weights(folder, plan, model)
    sounds = recordings_of(folder, plan, model.frontend, sources, CHECKED)
    with RunFolder(folder).held(wait=wait) as held:
        files = package.write_graphs(model, plan, held.aside, chosen, weights)
        simulation = simulator(model, plan.settings, weights)
        simulated = parity.simulate(model.frontend, simulation.backend(plan.scheme()), sounds)
        simulation.let_go()
        runtime = RUNTIMES.get(target)
        backend = None if runtime is None else runtime(files)
        parities = parity.against(
            model.frontend,
            simulated,
            OnnxRuntimeBackend(files, optimise=False),
            None if backend is None else (backend.name, backend),
        )
        parity.require(parities, str(held.aside))
        written_bytes = size(files.values())
        written = held.publish(more=True)
    return {
        "model": str(folder),
        "target": target,
        "files": [str(path) for path in written],
        "bytes": written_bytes,
        "bytes_ratio": round(written_bytes / model.float_bytes, 4),
        "runtime": None if backend is None else backend.name,
        "checks": [{**asdict(p), "passed": p.passed} for p in parities],
    }
