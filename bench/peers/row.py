"""One row of bench/compare_peers.py: what transcribes, in which runtime, and what it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from stablequant.data.speech import Speech
from stablequant.export import package
from stablequant.export.targets import TARGETS
from stablequant.families.model import SpeechModel
from stablequant.heads.head import Answer
from stablequant.measure import footprint
from stablequant.network.backend import Backend
from stablequant.runtime.registry import RUNTIMES

Recognize = Callable[[Sequence[Any]], list[Answer]]
Files = dict[str, Path]
Feeds = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Peer:
    """One row: how it transcribes, and what it cost to make.

    Attributes:
        name: Of the tool, with its version.
        recognize: Waveforms to answers.
        bytes: Of its files.
        float_ops: Linear layers and convolutions whose weight is stored in float; None: not counted.
        ours: Whether it is stablequant's.
        int8: Whether it is quantised.
        quantise_seconds: What making it took; None: not known.
        peak_rss_bytes: Most memory of a process that runs it; None: not measured.
        backend: What runs the model's graphs for it; None: it has ways of its own.
    """

    name: str
    recognize: Recognize
    bytes: int
    float_ops: int | None
    ours: bool = False
    int8: bool = True
    quantise_seconds: float | None = None
    peak_rss_bytes: int | None = None
    backend: Backend | None = None


@dataclass(frozen=True)
class Material:
    """What every peer is given.

    Attributes:
        model: The float model.
        files: Its ONNX files, in float.
        feeds: Calibration inputs of each graph.
        dev: Speech with text, for those that ask how good they are; None: there is none.
        work: A folder for what they write.
    """

    model: SpeechModel
    files: Files
    feeds: Feeds
    dev: Speech | None
    work: Path

    @classmethod
    def of(cls, model: SpeechModel, feeds: Feeds, dev: Speech | None, work: Path) -> Material:
        """With float files of ONNX's own operators alone: other tools infer no shapes behind those of a runtime."""
        folder, target = work / "plain", replace(TARGETS["onnxruntime"], attention_kernel=False)
        folder.mkdir(exist_ok=True)
        return cls(model, package.write_graphs(model, None, folder, target), feeds, dev, work)


class PlainOpenVino:
    """OpenVINO with its own defaults, as a user of NNCF runs it."""

    def __init__(self, models: Mapping[str, Any]) -> None:
        """Compile ``models`` (graph name -> openvino.Model, or one that is compiled already)."""
        import openvino

        core, settings = openvino.Core(), {"INFERENCE_NUM_THREADS": 1}
        ready = {
            n: core.compile_model(m, "CPU", settings) if isinstance(m, openvino.Model) else m for n, m in models.items()
        }
        self._requests = {name: compiled.create_infer_request() for name, compiled in ready.items()}

    def run(self, graph: str, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by every name that they have."""
        found = self._requests[graph].infer(dict(feeds), share_inputs=True)
        return {name: found[output] for output in found for name in output.get_names()}

    def put(self, array: Any) -> Any:
        """As it is."""
        return array

    def get(self, array: Any) -> Any:
        """As it is."""
        return array


class InTorch:
    """Transformers' own model of one graph, for recordings of one length."""

    def __init__(self, network: Any) -> None:
        """Run ``network``."""
        self._network = network

    def run(self, graph: str, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Logits, and all of their frames."""
        values = next(value for name, value in feeds.items() if name != "input_lengths")
        with torch.inference_mode():
            logits = self._network(torch.from_numpy(values)).logits.float().numpy()
        return {"logits": logits, "frames": np.full(len(logits), logits.shape[1])}

    def put(self, array: Any) -> Any:
        """As it is."""
        return array

    def get(self, array: Any) -> Any:
        """As it is."""
        return array


def size(files: Mapping[str, Path]) -> int:
    """Bytes of the files, and of the weights that OpenVINO keeps beside its own."""
    return sum(p.stat().st_size for f in files.values() for p in {f, f.with_suffix(".bin")} if p.is_file())


def in_plain_openvino(name: str, m: Material, made: Mapping[str, Any], seconds: float) -> Peer:
    """A row for models that OpenVINO runs with its own defaults, saved for their size and memory."""
    import nncf
    import openvino

    saved = {graph: m.work / f"{graph}.{name}.xml" for graph in m.files}
    for graph, path in saved.items():
        openvino.save_model(made[graph], str(path), compress_to_fp16=False)
    backend = PlainOpenVino(made)
    return Peer(
        f"{name} (openvino {openvino.__version__.split('-')[0]}, nncf {nncf.__version__})",
        lambda w: m.model.frontend.recognize(backend, w),
        size(saved),
        None,
        quantise_seconds=seconds,
        peak_rss_bytes=footprint.measure(saved, "openvino", m.model.frontend).peak_rss_bytes,
        backend=backend,
    )


def float_ops(model: SpeechModel, files: Mapping[str, Path]) -> int:
    """Linear layers and convolutions whose weight is in the file as float."""
    kept = 0
    for graph in model.graphs:
        proto = onnx.load(str(files[graph.name]))
        floats = {i.name for i in proto.graph.initializer if i.data_type == onnx.TensorProto.FLOAT}
        keys = {node.weights["weight"] for node in graph.quantisable()}
        kept += sum(not floats.isdisjoint((key, f"{key}.T")) for key in keys)
    return kept


def _row(runtime: str, name: str, model: SpeechModel, files: Files, **more: Any) -> Peer:
    """A row for files that our class for ``runtime`` runs."""
    backend = RUNTIMES[runtime](files, threads=1)
    # What a file fails with is told in the runtime's words, not in those of the process that measures its memory.
    model.frontend.recognize(backend, [np.zeros(model.frontend.sampling_rate, np.float32)])
    peak = footprint.measure(files, runtime, model.frontend).peak_rss_bytes
    return Peer(
        f"{name} ({backend.name})",
        lambda w: model.frontend.recognize(backend, w),
        size(files),
        float_ops(model, files),
        peak_rss_bytes=peak,
        backend=backend,
        **more,
    )


in_onnxruntime = partial(_row, "onnxruntime")
in_openvino = partial(_row, "openvino")
