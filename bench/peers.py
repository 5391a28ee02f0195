"""Ours beside other ways to int8: the same model, the same speech, one run.

    pip install '.[peers]'
    python -m venv optimum && optimum/bin/pip install 'optimum-onnx[onnxruntime]'
    OPTIMUM_CLI=optimum/bin/optimum-cli python bench/peers.py build/bench/moonshine-tiny-planes --data examples/asterisk

Each peer gets the same cleaned float graph (torchao: the model as transformers has it), calibration speech from --data (ours
had what its own run says), and where it runs in ONNX Runtime our session settings, without which its linear layers would run in
float. OpenVINO runs NNCF's model as it comes. A model that talks on without end is slow for that alone. A peer that is not
installed, or fails, is listed with its reason. One thread, one recording at a time. Writes bench/results/peers.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts its threads, as the command line does
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np  # noqa: E402
from peer import Feeds, Material, Peer, in_onnxruntime, in_openvino  # noqa: E402
from peer_quantisers import PEERS  # noqa: E402
from where import result_file  # noqa: E402

from stablequant.data import manifest  # noqa: E402
from stablequant.data.speech import Speech  # noqa: E402
from stablequant.data.splits import make_splits  # noqa: E402
from stablequant.export import package  # noqa: E402
from stablequant.export.targets import recipe_for  # noqa: E402
from stablequant.families.frontend import Frontend  # noqa: E402
from stablequant.families.model import SpeechModel  # noqa: E402
from stablequant.heads.greedy import Backend, forced  # noqa: E402
from stablequant.jobs.quantize import decode  # noqa: E402
from stablequant.jobs.serve import open_plan  # noqa: E402
from stablequant.measure.latency import interleaved  # noqa: E402
from stablequant.report.tables import table  # noqa: E402
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend  # noqa: E402
from stablequant.runtime.processor import machine  # noqa: E402
from stablequant.runtime.registry import graph_files  # noqa: E402
from stablequant.settings import Settings  # noqa: E402
from stablequant.tasks.bootstrap import bootstrap  # noqa: E402
from stablequant.tasks.score import score  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
#: Peers without a row, and why.
NOT_RUN = {
    "PT2E": "it is exported for one length, and a decoder has none; see bench/sizes.py",
    "CTranslate2": "it has no converter for Moonshine",
}
CALIBRATION, CALIBRATION_SECONDS, DEV, SPEED, ROUNDS = 24, 4, 32, 8, 3


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


def systems(
    model: SpeechModel, run: Path, speech: Mapping[str, Speech], work: Path, left_out: dict[str, str]
) -> Iterator[Peer]:
    """Float in both runtimes, ours in both, and the peers that can be had."""
    shape = model.frontend.shape
    in_float = {t: package.write_graphs(model, None, work, recipe_for(t)) for t in ("onnxruntime", "openvino")}
    yield in_onnxruntime("float32", model, in_float["onnxruntime"], int8=False)
    yield in_openvino("float32", model, in_float["openvino"], int8=False)
    summary = json.loads((run / "summary.json").read_text())
    # A run that took over another's stage 1 does not say what the whole costs.
    took = None if "--stage-1" in summary["command"] else sum(summary["seconds"].values())
    ours: dict[str, Any] = {"ours": True, "quantise_seconds": took}
    yield in_onnxruntime("stablequant", model, graph_files(run, shape), **ours)
    yield in_openvino("stablequant", model, graph_files(run, shape, "openvino"), **ours)
    backend = OnnxRuntimeBackend(in_float["onnxruntime"], threads=1)
    feeds = calibration_feeds(model.frontend, backend, speech["calibration"])
    every = max(1, len(speech["dev"].waveforms) // DEV)
    dev = speech["dev"].part(range(0, len(speech["dev"].waveforms), every), 1, 30.0)
    material = Material(model, in_float["onnxruntime"], feeds, dev, work)
    for name, make in PEERS.items():
        try:
            yield make(material)
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
    parts = {"test": splits.test[: arguments.count or None], "calibration": splits.calibration, "dev": splits.dev}
    speech = decode(model.frontend, parts, Settings(batch_size=1))
    left_out: dict[str, str] = dict(NOT_RUN)
    rows, results = [], []
    with TemporaryDirectory(prefix="stablequant-") as work:
        found = list(systems(model, arguments.run, speech, Path(work), left_out))
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
    result_file("peers").write_text(json.dumps(told, indent=1) + "\n")
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
