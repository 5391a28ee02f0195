"""Other ways to int8 than ours: each takes the same model and speech, and gives a row of bench/compare_peers.py."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from peers import ctranslate, exporters, olive_static
from peers.environment import python_of, run
from peers.row import InTorch, Material, Peer, PlainOpenVino, in_onnxruntime, in_plain_openvino, size
from stablequant.heads.head import Answer
from stablequant.runtime.processor import int8_overflows
from stablequant.settings import Settings
from stablequant.tasks.task import task_of

#: Of NNCF's accuracy-aware mode: the share of words that may be lost (our gamma, as a fraction), rounds, and recordings that
#: an operation is ranked on.
MAX_DROP, ITERATIONS, RANKED = 0.0025, 3, 8


def ort_dynamic(m: Material) -> Peer:
    """ONNX Runtime's dynamic quantisation: weights beforehand, activations at run time."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    began, made = time.perf_counter(), {}
    for graph, path in m.files.items():
        made[graph] = m.work / f"{graph}.dynamic.onnx"
        # Its convolutions would be ConvInteger, which the CPU provider has no kernel of for these types.
        quantize_dynamic(
            path,
            made[graph],
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=int8_overflows(),
            weight_type=QuantType.QInt8,
        )
    seconds = time.perf_counter() - began
    return in_onnxruntime("ONNX Runtime, dynamic", m.model, made, quantise_seconds=seconds)


def optimum(m: Material) -> Peer:
    """Optimum's command line, from an environment of its own: it wants another transformers than we do."""
    program = python_of("optimum", "optimum-onnx[onnxruntime]").with_name("optimum-cli")
    given, into = m.work / "optimum", m.work / "optimum-int8"
    given.mkdir()
    for graph, path in m.files.items():
        shutil.copy(path, given / f"{graph}.onnx")
    began = time.perf_counter()
    processor = "--avx2" if int8_overflows() else "--avx512_vnni"
    run([program, "onnxruntime", "quantize", "--onnx_model", given, "--per_channel", processor, "-o", into])
    seconds = time.perf_counter() - began
    made = {graph: into / f"{graph}_quantized.onnx" for graph in m.files}
    return in_onnxruntime(f"Optimum {processor}, dynamic", m.model, made, quantise_seconds=seconds)


def ctranslate2(m: Material) -> Peer:
    """CTranslate2's own int8, which faster-whisper runs."""
    folder = m.work / "ctranslate2"
    seconds = ctranslate.convert(m.model.path, folder, "int8")
    whole = ctranslate.FasterWhisper(folder, "int8")
    return Peer(
        "CTranslate2 int8",
        lambda sounds: [Answer(whole.text(sound), ()) for sound in sounds],
        size({"model": folder / "model.bin"}),
        None,
        quantise_seconds=seconds,
        peak_rss_bytes=ctranslate.peak_rss_bytes(folder, "int8"),
    )


def ort_static(method: str) -> Callable[[Material], Peer]:
    """ONNX Runtime's static quantisation with one of its own calibrators."""

    def make(m: Material) -> Peer:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.calibrate import CalibrationDataReader

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self, batches: Sequence[dict[str, Any]]) -> None:
                self._batches = iter(batches)

            def get_next(self) -> dict[str, Any] | None:
                return next(self._batches, None)

        began, made = time.perf_counter(), {}
        for graph, path in m.files.items():
            made[graph] = m.work / f"{graph}.{method}.onnx"
            quantize_static(
                path,
                made[graph],
                Reader(m.feeds[graph]),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "MatMul"],
                per_channel=True,
                reduce_range=int8_overflows(),
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod[method],
            )
        seconds = time.perf_counter() - began
        return in_onnxruntime(f"ONNX Runtime, static, {method.lower()}", m.model, made, quantise_seconds=seconds)

    return make


def nncf_ptq(m: Material) -> Peer:
    """NNCF's post-training quantisation for OpenVINO, with its own defaults for a Transformer."""
    import nncf
    import openvino

    core, began, made = openvino.Core(), time.perf_counter(), {}
    for graph, path in m.files.items():
        made[graph] = nncf.quantize(
            core.read_model(str(path)),
            nncf.Dataset(m.feeds[graph]),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(m.feeds[graph]),
        )
    return in_plain_openvino("NNCF, post-training", m, made, time.perf_counter() - began)


def nncf_accuracy(m: Material) -> Peer:
    """NNCF's accuracy-aware mode: it gives operations back to float until the dev speech loses no more than it may.

    One graph after the other, each evaluated with those before it as they are by then.
    """
    import nncf
    import openvino

    core, began = openvino.Core(), time.perf_counter()
    made = {graph: core.read_model(str(path)) for graph, path in m.files.items()}
    for graph in m.files:

        def evaluated(compiled: Any, chosen: Any, graph: str = graph) -> tuple[float, list[float]]:
            backend, numbers = PlainOpenVino({**made, graph: compiled}), list(chosen)
            part = m.dev.part(numbers, 1, 30.0)
            answers = [m.model.frontend.recognize(backend, [w])[0] for w in part.waveforms]
            score = task_of(Settings().data).score(part.utterances, answers)
            return 1 - score.rate / 100, [-e for e in score.errors]

        made[graph] = nncf.quantize_with_accuracy_control(
            made[graph],
            nncf.Dataset(m.feeds[graph]),
            nncf.Dataset(range(len(m.dev.waveforms))),
            evaluated,
            max_drop=MAX_DROP,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(m.feeds[graph]),
            advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                max_num_iterations=ITERATIONS, ranking_subset_size=RANKED
            ),
        )
    return in_plain_openvino("NNCF, accuracy-aware", m, made, time.perf_counter() - began)


def torchao_dynamic(m: Material) -> Peer:
    """Torchao's int8 weights and dynamic int8 activations, eager, in transformers' own model."""
    import torchao
    import transformers
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    torch.set_num_threads(1)
    frontend = m.model.frontend
    head = frontend.head
    one_graph = len(head.graphs) == 1
    kind = transformers.AutoModelForCTC if one_graph else transformers.AutoModelForSpeechSeq2Seq
    network = kind.from_pretrained(m.model.path, dtype=torch.float32).eval()
    began = time.perf_counter()
    quantize_(network, Int8DynamicActivationInt8WeightConfig())
    seconds = time.perf_counter() - began

    def answers(sounds: Sequence[Any]) -> list[Answer]:
        values = torch.from_numpy(frontend.features(sounds).feeds["input_values"])
        limit = head.most_steps(values.shape[1])
        with torch.inference_mode():
            ids = network.generate(values, max_new_tokens=limit, do_sample=False, num_beams=1)[0].tolist()
        return [Answer(frontend.processor.tokenizer.decode(ids, skip_special_tokens=True).strip(), tuple(ids))]

    backend = InTorch(network) if one_graph else None
    recognize = answers if backend is None else partial(frontend.recognize, backend)
    recognize([np.zeros(frontend.sampling_rate, np.float32)])
    convolutions = sum(op.node.kind == "conv1d" for op in m.model.ops())
    stored = io.BytesIO()
    torch.save(network.state_dict(), stored)
    name = f"torchao, dynamic, eager (torchao {torchao.__version__})"
    size_in_bytes = stored.getbuffer().nbytes
    return Peer(name, recognize, size_in_bytes, convolutions, quantise_seconds=seconds, backend=backend)


#: By name, in the order of the table's rows.
QUANTISERS: dict[str, Callable[[Material], Peer]] = {
    "ONNX Runtime, dynamic": ort_dynamic,
    "Optimum, dynamic": optimum,
    "ONNX Runtime, static, percentile": ort_static("Percentile"),
    "ONNX Runtime, static, entropy": ort_static("Entropy"),
    "NNCF, post-training": nncf_ptq,
    "NNCF, accuracy-aware": nncf_accuracy,
    "torchao, dynamic": torchao_dynamic,
    "transformers' exporter, ONNX Runtime static": exporters.ort_static,
    "transformers' exporter, NNCF in ONNX": exporters.nncf_onnx,
    "transformers' exporter, NNCF in OpenVINO": exporters.nncf_openvino,
    "CTranslate2": ctranslate2,
    "Olive, static": olive_static.static,
}
