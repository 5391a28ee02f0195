"""Ours beside other ways to int8: the same model, the same speech, one run.

    pip install '.[peers]'
    python -m venv optimum && optimum/bin/pip install 'optimum-onnx[onnxruntime]'
    OPTIMUM_CLI=optimum/bin/optimum-cli python bench/compare_peers.py demo-out --data examples/asterisk

Each peer gets the same cleaned float graph (torchao: the model as transformers has it), calibration speech from --data (ours
had that of its own run), and where it runs in ONNX Runtime our session settings, without which its linear layers would run in
float. OpenVINO runs NNCF's model as it comes. A decoder that generates up to its limit is slow for that alone. A peer that is
not installed, or fails, is listed with its reason. One thread, one recording at a time. Writes bench/results/peers.json.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from inputs import add_data, add_run, arguments_of, sources
from peers.quantisers import QUANTISERS
from peers.row import Feeds, Material, Peer, in_onnxruntime, in_openvino
from result_path import save
from tables import peers

from stablequant.data.speech import Speech
from stablequant.export import package
from stablequant.export.targets import TARGETS
from stablequant.families.frontend import Frontend
from stablequant.families.model import SpeechModel
from stablequant.heads.decoder import forced
from stablequant.heads.seq2seq import Seq2SeqHead
from stablequant.jobs.open import open_plan
from stablequant.jobs.speech import read_splits
from stablequant.measure.latency import interleaved
from stablequant.network.backend import Backend
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.registry import graph_files
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import bootstrap

#: Peers without a row, and why.
NOT_RUN = {
    "PT2E": "it is exported for one length, and a decoder has none; see bench/sizes.py",
    "CTranslate2": "it has no converter for Moonshine",
}
CALIBRATION, CALIBRATION_SECONDS, DEV, TIMED, ROUNDS = 24, 4, 32, 8, 3


def calibration_feeds(frontend: Frontend, backend: Backend, speech: Speech) -> Feeds:
    """Inputs of every graph on calibration speech, the decoder's with the float model's text.

    ONNX Runtime's calibrators take inputs of one shape alone, and NNCF none without elements. So the recordings are cut into
    pieces of one length, their text to the same number of tokens, and the decoder is fed what comes after the first one.
    """
    length = CALIBRATION_SECONDS * frontend.sampling_rate
    stream = np.concatenate(speech.waveforms)
    sounds = [stream[i : i + length] for i in range(0, len(stream) - length + 1, length)][:CALIBRATION]
    features = [frontend.features([sound]) for sound in sounds]
    first, head = [f.feeds for f in features], frontend.head
    if not isinstance(head, Seq2SeqHead):
        return {head.graphs[0]: first}
    encoded = [frontend.encode(backend, f) for f in features]
    texts = [head.read(backend, e, f.sizes)[0].tokens for e, f in zip(encoded, features, strict=True)]
    shortest = min(map(len, texts))
    decoder = []
    for outputs, tokens in zip(encoded, texts, strict=True):
        # ONNX Runtime hands out long long, which is no int64 to OpenVINO although as long.
        outputs["encoder_lengths"] = outputs["encoder_lengths"].astype(np.int64)
        begun = forced(backend, outputs, [()], head.decoder)
        past = {into: begun[out] for out, into in head.decoder.cache}
        decoder.append({"input_ids": np.array([tokens[:shortest]], np.int64), **outputs, **past})
    return {"encoder": first, "decoder": decoder}


def systems(
    model: SpeechModel, run: Path, speech: Mapping[str, Speech], work: Path, left_out: dict[str, str]
) -> Iterator[Peer]:
    """Float in both runtimes, ours in both, and the peers that can be had."""
    graphs = model.frontend.head.graphs
    in_float = {t: package.write_graphs(model, None, work, TARGETS[t]) for t in ("onnxruntime", "openvino")}
    yield in_onnxruntime("float32", model, in_float["onnxruntime"], int8=False)
    yield in_openvino("float32", model, in_float["openvino"], int8=False)
    summary = json.loads((run / "summary.json").read_text())
    # A run that took over another's stage 1 does not know what the whole costs.
    took = None if "--stage-1" in summary["command"] else sum(summary["seconds"].values())
    ours: dict[str, Any] = {"ours": True, "quantise_seconds": took}
    yield in_onnxruntime("stablequant", model, graph_files(run, graphs), **ours)
    yield in_openvino("stablequant", model, graph_files(run, graphs, "openvino"), **ours)
    backend = OnnxRuntimeBackend(in_float["onnxruntime"], threads=1)
    feeds = calibration_feeds(model.frontend, backend, speech["calibration"])
    every = max(1, len(speech["dev"].waveforms) // DEV)
    dev = speech["dev"].part(range(0, len(speech["dev"].waveforms), every), 1, 30.0)
    material = Material(model, in_float["onnxruntime"], feeds, dev, work)
    for name, make in QUANTISERS.items():
        try:
            yield make(material)
        except Exception as error:  # whatever a peer fails with is its result
            left_out[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def main() -> None:
    """Measure all of them."""
    parser = arguments_of(__doc__)
    add_run(parser)
    add_data(parser)
    parser.add_argument("--count", type=int, default=0, help="test recordings; default: all")
    arguments = parser.parse_args()
    _, model = open_plan(arguments.run, arguments.checkpoint)
    data, settings = sources(arguments), Settings(batch_size=1)
    speech, task, settings = read_splits(model.frontend, data, settings)
    test = speech["test"]
    if arguments.count:
        test = test.part(range(min(arguments.count, len(test.utterances))), 1, settings.data.batch_seconds)
    left_out: dict[str, str] = dict(NOT_RUN)
    with TemporaryDirectory(prefix="stablequant-") as work:
        found = list(systems(model, arguments.run, speech, Path(work), left_out))
        runners = {p.name: lambda w, p=p: p.recognize([w]) for p in found}
        seconds = interleaved(runners, test.sample(TIMED), ROUNDS)
        scores = [task.score(test.utterances, [p.recognize([w])[0] for w in test.waveforms]) for p in found]
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    best = min(medians[p.name] for p in found if not p.int8)
    rows = []
    for peer, score in zip(found, scores, strict=True):
        interval = bootstrap(score)
        rows.append(
            {
                "name": peer.name,
                "ours": peer.ours,
                "int8": peer.int8,
                "speedup_vs_best_float": round(best / medians[peer.name], 4),
                "wer": round(score.rate, 4),
                "wer_interval": [round(interval.low, 4), round(interval.high, 4)],
                "bytes": peer.bytes,
                "peak_rss_bytes": peer.peak_rss_bytes,
                "quantise_seconds": None if peer.quantise_seconds is None else round(peer.quantise_seconds, 2),
                "float_ops": peer.float_ops,
            }
        )
    result = {
        "model": arguments.run.name,
        "data": data,
        "words": int(scores[0].total),
        "utterances": len(test.utterances),
        "rounds": ROUNDS,
        "left_out": left_out,
        "rows": rows,
    }
    print(peers.table(save("peers", result, timed=True)))


if __name__ == "__main__":
    main()
