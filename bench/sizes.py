"""Models of usual sizes, random weights: the int8 file beside every float backend.

    python bench/sizes.py [--threads 1] [--seconds 10]

wav2vec2-base and HuBERT-large as their configurations have them. Random weights transcribe nothing, so there is no error rate,
and grids come from one pass over noise instead of a search; neither changes a time. The baseline is the fastest of ONNX Runtime
and OpenVINO on the graph without a plan, transformers' own model in PyTorch, and the same compiled. All take turns. Memory and
load time come from a process of their own each. A backend that fails is listed with its reason. Writes bench/results/sizes.json.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does

import numpy as np  # noqa: E402
import torch  # noqa: E402
from large import ROOT, checkpoint, hubert_large  # noqa: E402
from transformers import AutoModelForCTC, PreTrainedModel, Wav2Vec2Config, Wav2Vec2ForCTC  # noqa: E402

from stablequant.config import Settings  # noqa: E402
from stablequant.export.onnx import to_onnx  # noqa: E402
from stablequant.export.recipe import recipe_for  # noqa: E402
from stablequant.models.load import load  # noqa: E402
from stablequant.models.model import SpeechModel  # noqa: E402
from stablequant.observe.collect import observe  # noqa: E402
from stablequant.report.tables import table  # noqa: E402
from stablequant.runtime import footprint  # noqa: E402
from stablequant.runtime.backends import RUNTIMES  # noqa: E402
from stablequant.runtime.latency import interleaved  # noqa: E402
from stablequant.runtime.processor import machine  # noqa: E402
from stablequant.search import schemes  # noqa: E402

WORK = ROOT / "build" / "bench"
SIZES: dict[str, tuple[Path, Callable[[], PreTrainedModel]]] = {
    "wav2vec2-base": (WORK / "sizes" / "wav2vec2-base-random", lambda: Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=32))),
    "HuBERT-large": (WORK / "large" / "hubert-large-random", hubert_large),
}
ROUNDS = 3
Feeds = Mapping[str, Any]


def noise(seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Audio of that length at 16 kHz."""
    return (0.1 * np.random.default_rng(0).standard_normal(int(16000 * seconds))).astype(np.float32)


def write(model: SpeechModel, folder: Path) -> dict[tuple[str, str], Path]:
    """Files by kind and runtime: the graph in float, and all of it in int8, each input in one plane."""
    scheme = schemes.uniform(observe(model, [[noise(2.0)]]), "max", Settings())
    files = {}
    for runtime in RUNTIMES:
        for kind, chosen in (("float32", {}), ("int8", scheme)):
            files[kind, runtime] = folder / f"{kind}.{runtime}.onnx"
            proto = to_onnx(model.graphs[0], chosen, recipe_for(runtime))
            files[kind, runtime].write_bytes(proto.SerializeToString())
    return files


def in_torch(path: Path, feeds: Feeds, told: dict[str, Any]) -> dict[str, Callable[[Any], object]]:
    """Transformers' own model, as it is and compiled; ``told`` gets what compiling took, or why it failed."""
    network = AutoModelForCTC.from_pretrained(path, dtype=torch.float32).eval()
    values = torch.from_numpy(feeds["input_values"])

    def run(way: Callable[..., Any]) -> object:
        with torch.inference_mode():
            return way(values)

    found: dict[str, Callable[[Any], object]] = {"float32, torch": lambda _: run(network)}
    began = time.perf_counter()
    try:
        compiled = torch.compile(network)
        run(compiled)
        told["compile_seconds"] = round(time.perf_counter() - began, 1)
        found["float32, torch, compiled"] = lambda _: run(compiled)
    except Exception as error:  # whatever it fails with is its result
        told["left_out"] = {"torch, compiled": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
    return found


def measure(name: str, seconds: float, threads: int) -> dict[str, Any]:
    """One size of model on so many threads."""
    folder, network = SIZES[name]
    model = load(checkpoint(folder, network))
    torch.set_num_threads(threads)
    feeds = dict(model.frontend.features([noise(seconds)]))
    told: dict[str, Any] = {
        "model": name,
        "threads": threads,
        "float_bytes": model.float_bytes,
        "ops": len(model.ops()),
    }
    with TemporaryDirectory(prefix="stablequant-") as work:
        files = write(model, Path(work))
        costs = {
            key: footprint.measure({"model": f}, key[1], model.frontend, threads=threads) for key, f in files.items()
        }
        runners = in_torch(folder, feeds, told)
        for (kind, runtime), file in files.items():
            backend = RUNTIMES[runtime]({"model": file}, threads=threads)
            runners[f"{kind}, {runtime}"] = lambda _, b=backend: b.run("model", feeds)  # type: ignore[misc]
        measured = interleaved(runners, [None], ROUNDS)
        sizes = {key: file.stat().st_size for key, file in files.items()}
    medians = {label: statistics.median(s) for label, s in measured.items()}
    best = min((label for label in medians if label.startswith("float32")), key=medians.__getitem__)
    known = {f"{kind}, {runtime}": (kind, runtime) for kind, runtime in files}
    told["best_float"] = best
    peak = costs["float32", best.split(", ")[1]].peak_rss_bytes if best in known else None
    told["systems"] = [
        {
            "name": label,
            "int8": label.startswith("int8"),
            "seconds": round(seconds, 4),
            "speedup": round(medians[best] / seconds, 4),
            "bytes": sizes[known[label]] if label in known else None,
            "bytes_ratio": round(sizes[known[label]] / model.float_bytes, 4) if label in known else None,
            "peak_rss_bytes": costs[known[label]].peak_rss_bytes if label in known else None,
            "peak_rss_ratio": round(costs[known[label]].peak_rss_bytes / peak, 4) if label in known and peak else None,
            "load_seconds": round(costs[known[label]].load_seconds, 2) if label in known else None,
        }
        for label, seconds in medians.items()
    ]
    return told


def main() -> None:
    """Measure every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    rows = []
    for name in SIZES:
        for threads in arguments.threads:
            rows.append(measure(name, arguments.seconds, threads))
            gc.collect()
            cells = [[s["name"], f"{s['seconds']:.3f}", f"{s['speedup']:.2f}"] for s in rows[-1]["systems"]]
            print(table([f"{name}, threads {threads}", "seconds", "speed"], cells), flush=True)
    result = {
        "machine": machine(),
        "seconds": arguments.seconds,
        "rounds": ROUNDS,
        "runtimes": [*(b({}).name for b in RUNTIMES.values()), f"torch {torch.__version__}"],
        "models": rows,
    }
    (ROOT / "bench" / "results" / "sizes.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
