"""The files of a large model: written in float and in int8, and each in its runtime, against the simulation.

Steps of bench/large_models.py. Grids come of one recording by their largest values, so that nothing is searched: what is looked
at is whether files with more weights than a protobuf message can hold are written whole, load, and compute what they should.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import inputs  # first: it sets what torch reads when it is imported

from stablequant.data import manifest
from stablequant.data.audio import read
from stablequant.export.package import write_graphs
from stablequant.export.parity import difference, logits, simulate
from stablequant.export.targets import TARGETS
from stablequant.export.translate import to_onnx
from stablequant.families.checkpoint import load, load_frontend
from stablequant.observe.collect import observe
from stablequant.quantize import calibrated
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.registry import RUNTIMES, file_names, graph_files, size
from stablequant.settings import Settings

KINDS = ("float32", "int8")
RUNS = inputs.WORK / "large"


def _place(folder: Path, kind: str) -> Path:
    return RUNS / folder.name / "files" / kind


def write(folder: Path, speech: str) -> None:
    """The files of both kinds for both runtimes, and what the simulation says to the first recording."""
    model = load(folder)
    sounds = [read(manifest.load([speech])[0], model.frontend.sampling_rate)]
    scheme = calibrated.uniform(observe(model, [sounds]), "max", Settings())
    weights = WeightStore(model.layer_weights())
    simulator = Simulator(model, weights=weights)
    for kind, chosen in zip(KINDS, ({}, scheme), strict=True):
        place = _place(folder, kind)
        place.mkdir(parents=True, exist_ok=True)
        simulated = simulate(model.frontend, simulator.backend(chosen), sounds)
        (place / "simulated.pickle").write_bytes(pickle.dumps(simulated))
        for name in ("onnxruntime", "openvino"):
            if not chosen:
                write_graphs(model, None, place, TARGETS[name])
                continue
            names = file_names(model.frontend.head.graphs, name)
            for graph in model.graphs:
                proto = to_onnx(graph, chosen, weights, TARGETS[name])
                (place / names[graph.name]).write_bytes(proto.SerializeToString())


def compare(folder: Path, kind: str, runtime: str, threads: int) -> Mapping[str, Any]:
    """Load the files of one kind in a runtime, run the recording, and tell how far its logits are from the simulation's."""
    place, frontend = _place(folder, kind), load_frontend(folder)
    simulated = pickle.loads((place / "simulated.pickle").read_bytes())
    files = graph_files(place, frontend.head.graphs, runtime)
    began = time.perf_counter()
    backend = RUNTIMES[runtime](files, threads=threads)
    loaded = time.perf_counter() - began
    found = logits(frontend, backend, simulated.sounds, simulated.answers)
    return {
        "bytes": size(files.values()),
        "load_seconds": round(loaded, 1),
        "difference": round(difference(found, simulated.logits), 8),
        "limit": round(simulated.limit, 4),
        "same_best": float(f"{_same_best(found, simulated.logits):.4f}"),
        "audio_seconds": round(sum(map(len, simulated.sounds)) / frontend.sampling_rate, 2),
    }


def _same_best(found: Any, reference: Any) -> float:
    """Share of steps whose largest logit is that of the reference."""
    pairs = [(a.argmax(-1) == b.argmax(-1)) for a, b in zip(found, reference, strict=True)]
    return float(sum(int(p.sum()) for p in pairs) / sum(len(p) for p in pairs))
