"""What layers take in time under their schemes, measured: each distinct layer alone in ONNX Runtime, one thread.

Layers of one shape and one kind of scheme share a measurement; results are kept in the user's cache, by processor and versions.
"""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.errors import ResourceError
from stablequant.export.translate import to_onnx
from stablequant.families.model import Op, SpeechModel
from stablequant.files import digest, json_value, write_text
from stablequant.measure.latency import interleaved
from stablequant.network.graph import Graph, Node
from stablequant.observe.collect import Histograms
from stablequant.progress import Progress, silent
from stablequant.quantize.scheme import LayerScheme
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.processor import machine
from stablequant.search.allocate import Costs

#: Rounds of a measurement, after one that warms up.
ROUNDS = 15
#: Rows of an utterance are taken in these steps, so that layers of nearly the same length share a measurement.
STEP = 1.25


def measured(
    model: SpeechModel,
    options: Mapping[str, Mapping[str, LayerScheme]],
    histograms: Histograms,
    utterances: int,
    cache: Path | None = None,
    progress: Progress = silent,
) -> Costs:
    """Seconds an utterance that each layer takes under each of its schemes; a decoder's layers take their rows one by one.

    Args:
        model: What is quantised.
        options: The schemes of each layer.
        histograms: Of every activation, from so many
        utterances: of calibration speech: they say how many rows a layer has.
        cache: File of earlier measurements; default: `cache_file`.
        progress: Told what is running.
    """
    cache = cache or cache_file()
    known = _read(cache)
    stepwise = {g.name for g in model.graphs if g.runs_in_steps}
    ops = {op.name: op for op in model.ops(matmuls=True)}
    found: dict[str, dict[str, float]] = {}
    for number, (layer, schemes) in enumerate(options.items()):
        op, schemes = ops[layer], {name: _plain(scheme) for name, scheme in schemes.items()}
        progress("kernel times", number, len(options))
        if len(schemes) == 1:  # nothing to choose
            found[layer] = dict.fromkeys(schemes, 0.0)
            continue
        rows = (
            histograms[layer][0].count / model.graph(op.graph).weights[op.node.weights["weight"]].shape[1] / utterances
        )
        steps = 1 if op.graph in stepwise else round(STEP ** round(np.log(max(rows, 1.0)) / np.log(STEP)))
        keys = {name: _key(model, op, scheme, steps) for name, scheme in schemes.items()}
        if not known.keys() >= set(keys.values()):
            known |= dict(zip(keys.values(), _seconds(model, op, schemes, steps), strict=True))
        calls = rows if op.graph in stepwise else 1.0
        found[layer] = {name: calls * known[key] for name, key in keys.items()}
    progress("kernel times", len(options), len(options))
    _write(cache, known)
    return found


def _plain(scheme: LayerScheme) -> LayerScheme:
    """The same with weights that need no speech to be made: a kernel takes as long whatever its codes are."""
    if scheme.weight is None:
        return scheme
    return replace(scheme, weight=replace(scheme.weight, rounding="nearest", correct_bias=False))


def cache_file() -> Path:
    """Where measurements are kept for this user."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("stablequant", appauthor=False)) / "kernels.json"


def _key(model: SpeechModel, op: Op, scheme: LayerScheme, steps: int) -> str:
    """All that a layer's time depends on: its shape, its kind of scheme, its rows, and where it runs."""
    weight = model.weight(op)
    assert weight is not None
    kinds = [(type(a).__name__, a.bits, a.planes, getattr(a, "shift", None) is None) for a in scheme.activations]
    versions = [version(package) for package in ("stablequant", "onnxruntime")]
    shape = [op.node.kind, list(weight.shape), dict(op.node.attrs), "bias" in op.node.weights]
    return digest([machine(), versions, shape, [list(map(str, kind)) for kind in kinds], str(scheme.weight), steps])


def _seconds(model: SpeechModel, op: Op, schemes: Mapping[str, LayerScheme], steps: int) -> list[float]:
    """Median seconds of one layer under each scheme, taken in turns."""
    weights = {key: model.graph(op.graph).weights[key] for key in op.node.weights.values()}
    weight = weights[op.node.weights["weight"]]
    channels = int(weight.shape[1]) * (op.node.attrs["groups"] if op.node.kind == "conv1d" else 1)
    graph = Graph("layer", weights)
    x = graph.input("x", "float32", ("batch", "steps", channels))
    node = Node(op.node.kind, op.name, (x,), (f"{op.name}:0",), op.node.attrs, op.node.weights)
    graph.nodes.append(node)
    graph.output(node.outputs[0], "y", ("batch", "rows", int(weight.shape[0])))
    store = WeightStore({op.name: weight})
    files = {
        str(i): to_onnx(graph, {op.name: scheme}, store).SerializeToString()
        for i, scheme in enumerate(schemes.values())
    }
    backend = OnnxRuntimeBackend(files, threads=1)
    sound: NDArray[np.float32] = np.random.default_rng(0).standard_normal((1, steps, channels), np.float32)
    runs = {name: partial(_run, backend, name) for name in files}
    seconds = interleaved(runs, [sound], ROUNDS)
    return [statistics.median(seconds[name]) for name in files]


def _run(backend: OnnxRuntimeBackend, graph: str, x: NDArray[np.float32]) -> object:
    return backend.run(graph, {"x": x})


def _read(path: Path) -> dict[str, float]:
    """Earlier measurements; none where the file is missing or damaged: they are made again."""
    try:
        content: Any = json_value(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {k: float(v) for k, v in content.items() if isinstance(v, int | float) and v > 0}


def _write(path: Path, known: Mapping[str, float]) -> None:
    """Keep measurements; where the cache cannot be written they are made again."""
    with contextlib.suppress(OSError, ResourceError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(dict(sorted(known.items())), indent=1) + "\n")
