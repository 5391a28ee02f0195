"""The quantisers of transformers' own exporters, on the same float graph and calibration inputs as every other peer.

They come as they are: all types of operation that ONNX Runtime's or NNCF's defaults name, and their own ways to a range.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from peers.row import Material, Peer, in_onnxruntime, in_plain_openvino
from stablequant.runtime.processor import int8_overflows


def ort_static(m: Material) -> Peer:
    """Its quantiser for ONNX Runtime, static, as it comes; with a scale an output channel ONNX Runtime cannot run its decoder."""
    from transformers.exporters import OnnxRuntimeQuantizer, OnnxRuntimeStaticConfig

    config = OnnxRuntimeStaticConfig(reduce_range=int8_overflows())
    return _in_onnxruntime("transformers' exporter, ONNX Runtime static", m, OnnxRuntimeQuantizer(config))


def nncf_onnx(m: Material) -> Peer:
    """Its quantiser that lets NNCF put QDQ nodes into the ONNX file."""
    from transformers.exporters import NNCFOnnxQuantizer

    return _in_onnxruntime("transformers' exporter, NNCF in ONNX", m, NNCFOnnxQuantizer(_all_of(m)))


def nncf_openvino(m: Material) -> Peer:
    """Its quantiser that lets NNCF quantise OpenVINO's model."""
    import openvino
    from transformers.exporters import NNCFOpenVINOQuantizer
    from transformers.exporters.configs import ExportFormat

    core, began = openvino.Core(), time.perf_counter()
    quantiser, kind = NNCFOpenVINOQuantizer(_all_of(m)), ExportFormat.OPENVINO
    quantiser.validate_environment(kind)
    made = {}
    for graph, path in m.files.items():
        samples = _tensors(m.feeds[graph])
        made[graph] = quantiser.with_calibration(samples).quantize(core.read_model(str(path)), samples[0], kind)
    return in_plain_openvino("transformers' exporter, NNCF in OpenVINO", m, made, time.perf_counter() - began)


def _all_of(m: Material) -> Any:
    """NNCF's own settings, but for all calibration inputs that there are."""
    from transformers.exporters import NNCFQuantizationConfig

    return NNCFQuantizationConfig(subset_size=max(map(len, m.feeds.values())))


def _in_onnxruntime(name: str, m: Material, quantiser: Any) -> Peer:
    import onnx_ir
    from transformers.exporters.configs import ExportFormat

    quantiser.validate_environment(ExportFormat.ONNX)
    began, made = time.perf_counter(), {}
    for graph, path in m.files.items():
        samples = _tensors(m.feeds[graph])
        made[graph] = m.work / f"{graph}.{type(quantiser).__name__}.onnx"
        found = quantiser.with_calibration(samples).quantize(onnx_ir.load(path), samples[0], ExportFormat.ONNX)
        onnx_ir.save(found, made[graph])
    return in_onnxruntime(name, m.model, made, quantise_seconds=time.perf_counter() - began)


def _tensors(feeds: Sequence[dict[str, Any]]) -> list[dict[str, torch.Tensor]]:
    """What a graph is fed, as the exporters have it."""
    return [{name: torch.from_numpy(array) for name, array in feed.items()} for feed in feeds]
