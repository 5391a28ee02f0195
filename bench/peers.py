"""Ours beside other ways to int8: the same model, the same speech, one run.

    pip install '.[peers]'
    python bench/peers.py build/bench/moonshine-tiny-planes --data examples/asterisk

Each peer gets the same cleaned float graph (torchao: the model as transformers has it), calibration speech from --data (ours
had what its own run says), and where it runs in ONNX Runtime our session settings, without which its linear layers would run in
float. OpenVINO runs NNCF's model as it comes. A model that talks on without end is slow for that alone. A peer that is not
installed, or fails, is listed with its reason. One thread, one recording at a time. Writes bench/results/peers.json.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import torch  # noqa: E402

from stablequant.config import Settings  # noqa: E402
from stablequant.data import manifest  # noqa: E402
from stablequant.data.speech import Speech  # noqa: E402
from stablequant.data.splits import make_splits  # noqa: E402
from stablequant.evaluate.score import score  # noqa: E402
from stablequant.evaluate.significance import bootstrap  # noqa: E402
from stablequant.export import bundle  # noqa: E402
from stablequant.export.recipe import recipe_for  # noqa: E402
from stablequant.models.decode import Backend, forced  # noqa: E402
from stablequant.models.frontend import TOKENS_A_SECOND, TOKENS_AT_LEAST, Frontend, Transcript  # noqa: E402
from stablequant.models.model import SpeechModel  # noqa: E402
from stablequant.pipeline import decode  # noqa: E402
from stablequant.report.tables import table  # noqa: E402
from stablequant.runtime import footprint  # noqa: E402
from stablequant.runtime.backends import graph_files  # noqa: E402
from stablequant.runtime.latency import interleaved  # noqa: E402
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend  # noqa: E402
from stablequant.runtime.openvino import OpenVinoBackend  # noqa: E402
from stablequant.runtime.processor import int8_overflows, machine  # noqa: E402
from stablequant.serve import open_plan  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
CALIBRATION, CALIBRATION_SECONDS, SPEED, ROUNDS = 24, 4, 8, 3
Recognise = Callable[[Sequence[Any]], list[Transcript]]
Feeds = dict[str, list[dict[str, Any]]]
Files = dict[str, Path]


@dataclass
class Peer:
    """One row: how it transcribes, and what it cost to make."""

    name: str
    recognise: Recognise
    bytes: int
    float_ops: int | None
    ours: bool = False
    int8: bool = True
    quantise_seconds: float | None = None
    peak_rss_bytes: int | None = None


class PlainOpenVino:
    """OpenVINO with its own defaults, as a user of NNCF runs it."""

    def __init__(self, models: Mapping[str, Any]) -> None:
        """Compile ``models`` (graph name -> openvino.Model)."""
        import openvino

        core = openvino.Core()
        settings = {"INFERENCE_NUM_THREADS": 1}
        self._requests = {n: core.compile_model(m, "CPU", settings).create_infer_request() for n, m in models.items()}

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


def size(files: Mapping[str, Path]) -> int:
    """Bytes of the files, and of the weights that OpenVINO keeps beside its own."""
    return sum(p.stat().st_size for f in files.values() for p in {f, f.with_suffix(".bin")} if p.is_file())


def float_ops(model: SpeechModel, files: Mapping[str, Path]) -> int:
    """Linear layers and convolutions whose weight is in the file as float."""
    kept = 0
    for graph in model.graphs:
        proto = onnx.load(str(files[graph.name]))
        floats = {i.name for i in proto.graph.initializer if i.data_type == onnx.TensorProto.FLOAT}
        keys = {node.weights["weight"] for node in graph.quantisable()}
        kept += sum(not floats.isdisjoint((key, f"{key}.T")) for key in keys)
    return kept


def calibration_feeds(frontend: Frontend, backend: Backend, speech: Speech) -> Feeds:
    """Inputs of every graph on calibration speech, the decoder's with the float model's text.

    ONNX Runtime's calibrators take inputs of one shape alone, and NNCF none without elements. So the recordings are cut into
    pieces of one length, their text to the same number of tokens, and the decoder is fed what comes after the first one.
    """
    length = CALIBRATION_SECONDS * frontend.sampling_rate
    stream = np.concatenate(speech.waveforms)
    sounds = [stream[i : i + length] for i in range(0, len(stream) - length + 1, length)][:CALIBRATION]
    first = [dict(frontend.features([sound])) for sound in sounds]
    if frontend.shape == "ctc":
        return {"model": first}
    texts = [frontend.recognize(backend, [sound])[0].tokens for sound in sounds]
    shortest = min(map(len, texts))
    decoder = []
    for feeds, tokens in zip(first, texts, strict=True):
        encoded = backend.run("encoder", feeds)
        # ONNX Runtime hands out long long, which is no int64 to OpenVINO although as long.
        encoded["encoder_lengths"] = encoded["encoder_lengths"].astype(np.int64)
        begun = forced(backend, encoded, [()], frontend.greedy)
        past = {f"past_{name}": value for name, value in begun.items() if name != "logits"}
        decoder.append({"input_ids": np.array([tokens[:shortest]], np.int64), **encoded, **past})
    return {"encoder": first, "decoder": decoder}


def in_onnxruntime(name: str, model: SpeechModel, files: Files, **more: Any) -> Peer:
    """A row for files that ONNX Runtime runs."""
    backend = OnnxRuntimeBackend(files, threads=1)
    peak = footprint.measure(files, "onnxruntime", model.frontend).peak_rss_bytes
    return Peer(
        f"{name} ({backend.name})",
        lambda w: model.frontend.recognize(backend, w),
        size(files),
        float_ops(model, files),
        peak_rss_bytes=peak,
        **more,
    )


def in_openvino(name: str, model: SpeechModel, files: Files, **more: Any) -> Peer:
    """A row for files that our OpenVINO class runs."""
    backend = OpenVinoBackend(files, threads=1)
    peak = footprint.measure(files, "openvino", model.frontend).peak_rss_bytes
    return Peer(
        f"{name} ({backend.name})",
        lambda w: model.frontend.recognize(backend, w),
        size(files),
        float_ops(model, files),
        peak_rss_bytes=peak,
        **more,
    )


def ort_dynamic(model: SpeechModel, files: Files, feeds: Feeds, work: Path) -> Peer:
    """ONNX Runtime's dynamic quantisation: weights beforehand, activations at run time."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    began, made = time.perf_counter(), {}
    for graph, path in files.items():
        made[graph] = work / f"{graph}.dynamic.onnx"
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
    return in_onnxruntime("ONNX Runtime, dynamic", model, made, quantise_seconds=seconds)


def ort_static(method: str) -> Callable[[SpeechModel, Files, Feeds, Path], Peer]:
    """ONNX Runtime's static quantisation with one of its own calibrators."""

    def make(model: SpeechModel, files: Files, feeds: Feeds, work: Path) -> Peer:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.calibrate import CalibrationDataReader

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self, batches: Sequence[dict[str, Any]]) -> None:
                self._batches = iter(batches)

            def get_next(self) -> dict[str, Any] | None:
                return next(self._batches, None)

        began, made = time.perf_counter(), {}
        for graph, path in files.items():
            made[graph] = work / f"{graph}.{method}.onnx"
            quantize_static(
                path,
                made[graph],
                Reader(feeds[graph]),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "MatMul"],
                per_channel=True,
                reduce_range=int8_overflows(),
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod[method],
            )
        seconds = time.perf_counter() - began
        return in_onnxruntime(f"ONNX Runtime, static, {method.lower()}", model, made, quantise_seconds=seconds)

    return make


def nncf_ptq(model: SpeechModel, files: Files, feeds: Feeds, work: Path) -> Peer:
    """NNCF's post-training quantisation for OpenVINO, with its own defaults for a Transformer."""
    import nncf
    import openvino

    core, began, made = openvino.Core(), time.perf_counter(), {}
    for graph, path in files.items():
        made[graph] = nncf.quantize(
            core.read_model(str(path)),
            nncf.Dataset(feeds[graph]),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(feeds[graph]),
        )
    seconds = time.perf_counter() - began
    saved = {graph: work / f"{graph}.nncf.xml" for graph in files}
    for graph, path in saved.items():
        openvino.save_model(made[graph], str(path), compress_to_fp16=False)
    backend = PlainOpenVino(made)
    return Peer(
        f"NNCF, post-training (openvino {openvino.__version__.split('-')[0]}, nncf {nncf.__version__})",
        lambda w: model.frontend.recognize(backend, w),
        size(saved),
        None,
        quantise_seconds=seconds,
        peak_rss_bytes=footprint.measure(saved, "openvino", model.frontend).peak_rss_bytes,
    )


def torchao_dynamic(model: SpeechModel, files: Files, feeds: Feeds, work: Path) -> Peer:
    """Torchao's int8 weights and dynamic int8 activations, eager, in transformers' own model."""
    import torchao
    import transformers
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    torch.set_num_threads(1)
    frontend = model.frontend
    kind = transformers.AutoModelForCTC if frontend.shape == "ctc" else transformers.AutoModelForSpeechSeq2Seq
    network = kind.from_pretrained(model.path, dtype=torch.float32).eval()
    began = time.perf_counter()
    quantize_(network, Int8DynamicActivationInt8WeightConfig())
    seconds = time.perf_counter() - began

    def recognise(sounds: Sequence[Any]) -> list[Transcript]:
        values = torch.from_numpy(frontend.features(sounds)["input_values"])
        limit = int(values.shape[1] / frontend.sampling_rate * TOKENS_A_SECOND) + TOKENS_AT_LEAST
        with torch.inference_mode():
            if frontend.shape == "ctc":
                logits = network(values).logits
                out = {"logits": logits.numpy(), "frames": np.array([logits.shape[1]])}
                return frontend.read_out(OnnxRuntimeBackend({}), out, np.array([values.shape[1]]))
            ids = network.generate(values, max_new_tokens=limit, do_sample=False, num_beams=1)[0].tolist()
        return [Transcript(frontend.processor.tokenizer.decode(ids, skip_special_tokens=True).strip(), tuple(ids))]

    recognise([np.zeros(frontend.sampling_rate, np.float32)])
    convolutions = sum(op.node.kind == "conv1d" for op in model.ops())
    stored = io.BytesIO()
    torch.save(network.state_dict(), stored)
    name = f"torchao, dynamic, eager (torchao {torchao.__version__})"
    return Peer(name, recognise, stored.getbuffer().nbytes, convolutions, quantise_seconds=seconds)


PEERS: dict[str, Callable[[SpeechModel, Files, Feeds, Path], Peer]] = {
    "ONNX Runtime, dynamic": ort_dynamic,
    "ONNX Runtime, static, percentile": ort_static("Percentile"),
    "ONNX Runtime, static, entropy": ort_static("Entropy"),
    "NNCF, post-training": nncf_ptq,
    "torchao, dynamic": torchao_dynamic,
}


def systems(model: SpeechModel, run: Path, speech: Speech, work: Path, left_out: dict[str, str]) -> Iterator[Peer]:
    """Float in both runtimes, ours in both, and the peers that can be had."""
    shape = model.frontend.shape
    in_float = {t: bundle.write_graphs(model, None, work, recipe_for(t)) for t in ("onnxruntime", "openvino")}
    yield in_onnxruntime("float32", model, in_float["onnxruntime"], int8=False)
    yield in_openvino("float32", model, in_float["openvino"], int8=False)
    summary = json.loads((run / "summary.json").read_text())
    # A run that took over another's stage 1 does not say what the whole costs.
    took = None if "--stage-1" in summary["command"] else sum(summary["seconds"].values())
    ours: dict[str, Any] = {"ours": True, "quantise_seconds": took}
    yield in_onnxruntime("stablequant", model, graph_files(run, shape), **ours)
    yield in_openvino("stablequant", model, graph_files(run, shape, "openvino"), **ours)
    backend = OnnxRuntimeBackend(in_float["onnxruntime"], threads=1)
    feeds = calibration_feeds(model.frontend, backend, speech)
    for name, make in PEERS.items():
        try:
            yield make(model, in_float["onnxruntime"], feeds, work)
        except Exception as error:  # whatever a peer fails with is its result
            left_out[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def main() -> None:
    """Measure everybody."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished stablequant quantize, exported for OpenVINO too")
    parser.add_argument("--checkpoint", default="", help="where the float checkpoint is now")
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--count", type=int, default=0, help="test recordings; 0: all")
    arguments = parser.parse_args()
    _, model = open_plan(arguments.run, arguments.checkpoint)
    splits = make_splits(manifest.load(arguments.data), 0)
    parts = {"test": splits.test[: arguments.count or None], "calibration": splits.calibration}
    speech = decode(model.frontend, parts, Settings(batch_size=1))
    left_out: dict[str, str] = {}
    rows, results = [], []
    with TemporaryDirectory(prefix="stablequant-") as work:
        found = list(systems(model, arguments.run, speech["calibration"], Path(work), left_out))
        seconds = interleaved(
            {p.name: lambda w, p=p: p.recognise([w]) for p in found}, speech["test"].sample(SPEED), ROUNDS
        )
        for peer in found:
            results.append(score(speech["test"], [peer.recognise([w])[0] for w in speech["test"].waveforms], "english"))
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    best = min(medians[p.name] for p in found if not p.int8)
    for peer, result in zip(found, results, strict=True):
        interval = bootstrap(result)
        rows.append(
            {
                "name": peer.name,
                "ours": peer.ours,
                "int8": peer.int8,
                "speedup_vs_best_float": round(best / medians[peer.name], 4),
                "wer": round(result.wer, 4),
                "wer_interval": [round(interval.low, 4), round(interval.high, 4)],
                "bytes": peer.bytes,
                "peak_rss_bytes": peer.peak_rss_bytes,
                "quantise_seconds": None if peer.quantise_seconds is None else round(peer.quantise_seconds, 2),
                "float_ops": peer.float_ops,
            }
        )
    told = {
        "machine": machine(),
        "model": arguments.run.name,
        "data": arguments.data,
        "words": results[0].total_words,
        "utterances": len(results[0].ids),
        "left_out": left_out,
        "rows": rows,
    }
    (ROOT / "bench" / "results" / "peers.json").write_text(json.dumps(told, indent=1) + "\n")
    cells = [
        [
            r["name"],
            f"{r['wer']:.2f}",
            f"{r['speedup_vs_best_float']:.2f}",
            f"{r['bytes'] / 1e6:.1f}",
            str(r["float_ops"]),
        ]
        for r in rows
    ]
    print(table(["", "WER %", "speed", "MB", "float ops"], cells))
    print(left_out)


if __name__ == "__main__":
    main()
