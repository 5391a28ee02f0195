"""Models of usual sizes, random weights: the int8 file beside every float backend and other ways to int8.

    pip install '.[peers]'
    python bench/sizes.py [--threads 1 2]
    python bench/sizes.py --models wav2vec2-base --no-peers --seconds 30 --name sizes-30s

wav2vec2-base and HuBERT-large as their configurations have them. Random weights transcribe nothing, so there is no error rate,
and grids come from one pass over noise instead of a search; neither changes a time. The baseline is the fastest float32 of ONNX
Runtime and OpenVINO on the graph without a plan, transformers' own model in PyTorch, and the same compiled; where the processor
computes in bfloat16 there are rows for that. All take turns. Memory and load time come from a process of their own each. A
backend or peer that fails is listed with its reason. Writes bench/results/NAME.json.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does

import numpy as np  # noqa: E402
import torch  # noqa: E402
from large import ROOT, checkpoint, hubert_large  # noqa: E402
from peer import Material, Peer  # noqa: E402
from peer_quantisers import PEERS  # noqa: E402
from transformers import AutoModelForCTC, PreTrainedModel, Wav2Vec2Config, Wav2Vec2ForCTC  # noqa: E402
from where import result_file  # noqa: E402

from stablequant.export.targets import recipe_for  # noqa: E402
from stablequant.export.writer import to_onnx  # noqa: E402
from stablequant.families.checkpoint import load  # noqa: E402
from stablequant.families.model import SpeechModel  # noqa: E402
from stablequant.measure import footprint  # noqa: E402
from stablequant.measure.latency import interleaved  # noqa: E402
from stablequant.observe.collect import observe  # noqa: E402
from stablequant.quantize import calibrated  # noqa: E402
from stablequant.report.tables import table  # noqa: E402
from stablequant.runtime.processor import has_bfloat16, machine  # noqa: E402
from stablequant.runtime.registry import RUNTIMES, installed, target_of  # noqa: E402
from stablequant.settings import Settings  # noqa: E402

WORK = ROOT / "build" / "bench"
SIZES: dict[str, tuple[Path, Callable[[], PreTrainedModel]]] = {
    "wav2vec2-base": (WORK / "sizes" / "wav2vec2-base-random", lambda: Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=32))),
    "HuBERT-large": (WORK / "large" / "hubert-large-random", hubert_large),
}
ROUNDS = 5
#: Peers whose other modes give graphs of the same speed.
BESIDE = (
    "ONNX Runtime, dynamic",
    "Optimum, dynamic",
    "ONNX Runtime, static, percentile",
    "NNCF, post-training",
    "torchao, dynamic",
)
Feeds = Mapping[str, Any]


def noise(seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Audio of that length at 16 kHz."""
    return (0.1 * np.random.default_rng(0).standard_normal(int(16000 * seconds))).astype(np.float32)


def write(model: SpeechModel, folder: Path) -> dict[tuple[str, str], Path]:
    """Files by kind and target: the graph in float, and all of it in int8, each input in one plane."""
    scheme = calibrated.uniform(observe(model, [[noise(2.0)]]), "max", Settings())
    files = {}
    for target in installed():
        for kind, chosen in (("float", {}), ("int8", scheme)):
            files[kind, target] = folder / f"{kind}.{target}.onnx"
            proto = to_onnx(model.graphs[0], chosen, recipe_for(target))
            files[kind, target].write_bytes(proto.SerializeToString())
    return files


def in_torch(path: Path, feeds: Feeds, left_out: dict[str, str]) -> dict[str, Callable[[Any], object]]:
    """Transformers' own model, as it is, compiled, and in bfloat16; ``left_out`` gets why compiling failed."""
    values = torch.from_numpy(feeds["input_values"])

    def run(way: Callable[..., Any], values: torch.Tensor = values) -> object:
        with torch.inference_mode():
            return way(values)

    network = AutoModelForCTC.from_pretrained(path, dtype=torch.float32).eval()
    found: dict[str, Callable[[Any], object]] = {"float32, torch": lambda _: run(network)}
    try:
        compiled = torch.compile(network)
        run(compiled)
        found["float32, torch, compiled"] = lambda _: run(compiled)
    except Exception as error:  # whatever it fails with is its result
        left_out["float32, torch, compiled"] = reason(error)
    if has_bfloat16():
        half = AutoModelForCTC.from_pretrained(path, dtype=torch.bfloat16).eval()
        found["bfloat16, torch"] = lambda _: run(half, values.bfloat16())
    return found


def in_pt2e(path: Path, feeds: Feeds) -> Callable[[Any], object]:
    """PyTorch's own static int8 for x86: exported, observed, converted, compiled, all for this length of audio."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    values = torch.from_numpy(feeds["input_values"])
    network = AutoModelForCTC.from_pretrained(path, dtype=torch.float32).eval()
    with torch.no_grad(), torch._inductor.config.patch(freezing=True):
        quantiser = x86.X86InductorQuantizer()
        quantiser.set_global(x86.get_default_x86_inductor_quantization_config())
        prepared = prepare_pt2e(torch.export.export(network, (values,)).module(), quantiser)
        prepared(values)
        compiled = torch.compile(convert_pt2e(prepared))
        compiled(values)

    def run(_: Any) -> object:
        with torch.no_grad():
            return compiled(values)

    return run


def reason(error: Exception) -> str:
    """Why something is left out, in a line."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def peers(model: SpeechModel, file: Path, work: Path, left_out: dict[str, str]) -> Iterator[Peer]:
    """Other ways to int8. They calibrate on noise: what they do to words is in bench/peers.py."""
    feeds = {"model": [dict(model.frontend.features([noise(2.0)]))]}
    material = Material(model, {"model": file}, feeds, None, work)
    for name in BESIDE:
        try:
            yield PEERS[name](material)
        except Exception as error:  # whatever a peer fails with is its result
            left_out[name] = reason(error)


def measure(name: str, seconds: float, batch: int, threads: int, *, beside: bool) -> dict[str, Any]:
    """One size of model, ``batch`` recordings at a time, on so many threads, and with ``beside`` the peers, which have one."""
    folder, network = SIZES[name]
    model = load(checkpoint(folder, network))
    torch.set_num_threads(threads)
    sounds = [noise(seconds)] * batch
    feeds = dict(model.frontend.features(sounds))
    left_out: dict[str, str] = {}
    systems: dict[str, dict[str, Any]] = {}
    with TemporaryDirectory(prefix="stablequant-") as work:
        files = write(model, Path(work))
        runners = in_torch(folder, feeds, left_out)
        for (kind, target), file in files.items():
            for runtime in (r for r in installed(bfloat16=True) if target_of(r) == target):
                half = runtime != target
                label = f"{'bfloat16' if half else 'float32'}, {target}" if kind == "float" else f"int8, {runtime}"
                cost = footprint.measure({"model": file}, runtime, model.frontend, threads=threads)
                systems[label] = {
                    "bytes": file.stat().st_size,
                    "peak_rss_bytes": cost.peak_rss_bytes,
                    "load_seconds": round(cost.load_seconds, 2),
                }
                backend = RUNTIMES[runtime]({"model": file}, threads=threads)
                runners[label] = lambda _, b=backend: b.run("model", feeds)  # type: ignore[misc]
        for peer in peers(model, files["float", "onnxruntime"], Path(work), left_out) if beside else ():
            systems[peer.name] = {"bytes": peer.bytes, "peak_rss_bytes": peer.peak_rss_bytes, "peer": True}
            runners[peer.name] = lambda _, p=peer: p.recognise(sounds)  # type: ignore[misc]
        if beside:
            try:
                runners["PT2E, static"] = in_pt2e(folder, feeds)
                systems["PT2E, static"] = {"peer": True}
            except Exception as error:  # whatever it fails with is its result
                left_out["PT2E, static"] = reason(error)
        measured = interleaved(runners, [None], ROUNDS)
    medians = {label: statistics.median(s) for label, s in measured.items()}
    best = min((label for label in medians if label.startswith("float32")), key=medians.__getitem__)
    return {
        "model": name,
        "threads": threads,
        "float_bytes": model.float_bytes,
        "ops": len(model.ops()),
        "best_float": best,
        "left_out": left_out,
        "systems": [
            {
                "name": label,
                "int8": label.startswith("int8") or "peer" in systems.get(label, {}),
                "seconds": round(taken, 4),
                "fastest": round(min(measured[label]), 4),
                "slowest": round(max(measured[label]), 4),
                "speedup": round(medians[best] / taken, 4),
                **systems.get(label, {}),
            }
            for label, taken in medians.items()
        ],
    }


def main() -> None:
    """Measure every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--name", default="sizes", help="of the result")
    parser.add_argument("--no-peers", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.models:
        for threads in arguments.threads:
            beside = threads == 1 and not arguments.no_peers
            rows.append(measure(name, arguments.seconds, arguments.batch, threads, beside=beside))
            gc.collect()
            cells = [[s["name"], f"{s['seconds']:.3f}", f"{s['speedup']:.2f}"] for s in rows[-1]["systems"]]
            print(table([f"{name}, threads {threads}", "seconds", "speed"], cells), rows[-1]["left_out"], flush=True)
    result = {
        "machine": machine(),
        "seconds": arguments.seconds,
        "batch": arguments.batch,
        "rounds": ROUNDS,
        "runtimes": [*(RUNTIMES[r]({}).name for r in installed()), f"torch {torch.__version__}"],
        "models": rows,
    }
    result_file(arguments.name).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
