"""Ours beside other ways to int8: the same model, the same speech, one run.

    pip install '.[peers]'
    python bench/compare_peers.py demo-out --data examples/asterisk

Each peer gets the same cleaned float graph, in ONNX's own operators (torchao and CTranslate2 the model as transformers has it),
calibration speech from --data (ours had that of its own run), and where it runs in ONNX Runtime our session settings, without
which its linear layers would run in float. OpenVINO runs NNCF's model as it comes. A decoder that generates up to its limit is
slow for that alone. Optimum and Olive want other packages than we do: each gets an environment of its own in
build/bench/environments. A peer that cannot be installed, or fails, has a row with its own reason. One thread, one recording at
a time. Writes bench/results/peers.json, after each peer what is known by then.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from inputs import add_data, add_run, arguments_of, sources
from peers.quantisers import QUANTISERS
from peers.row import Feeds, Material, Peer, in_onnxruntime, in_openvino
from result_path import ROOT, save
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
from stablequant.tasks.score import Score

CALIBRATION, CALIBRATION_SECONDS, DEV, TIMED, ROUNDS = 24, 4, 32, 8, 5
#: Characters of a reason that are kept.
REASON = 160
#: A peer, and how the test speech was scored that it transcribed.
Scored = tuple[Peer, Score]


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
    model: SpeechModel, run: Path, speech: Mapping[str, Speech], work: Path
) -> Iterator[tuple[str, Callable[[], Peer]]]:
    """Name, and what makes a row: float in both runtimes, ours in both, and the peers."""
    graphs = model.frontend.head.graphs
    in_float = {t: package.write_graphs(model, None, work, TARGETS[t]) for t in ("onnxruntime", "openvino")}
    summary = json.loads((run / "summary.json").read_text())
    # A run that took over another's stage 1 does not know what the whole costs.
    took = None if "--stage-1" in summary["command"] else sum(summary["seconds"].values())
    ours: dict[str, Any] = {"ours": True, "quantise_seconds": took}
    for target, row in (("onnxruntime", in_onnxruntime), ("openvino", in_openvino)):
        yield "float32", partial(row, "float32", model, in_float[target], int8=False)
        yield "stablequant", partial(row, "stablequant", model, graph_files(run, graphs, target), **ours)
    backend = OnnxRuntimeBackend(in_float["onnxruntime"], threads=1)
    feeds = calibration_feeds(model.frontend, backend, speech["calibration"])
    every = max(1, len(speech["dev"].waveforms) // DEV)
    dev = speech["dev"].part(range(0, len(speech["dev"].waveforms), every), 1, 30.0)
    material = Material.of(model, feeds, dev, work)
    for name, make in QUANTISERS.items():
        yield name, partial(make, material)


def why(error: BaseException, work: str) -> str:
    """What a tool says of its failure, as a line without our folder: of errors that led to one another the first."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).replace(f"{work}/", "").replace(f"{ROOT}/", "").split())
    return f"{type(error).__name__}: {text[:REASON]}{'...' if len(text) > REASON else ''}"


def rows(found: Sequence[Scored], seconds: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """What is known of each; speeds where they have been measured, with the least and the most of the rounds."""
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    best = min((p.name for p, _ in found if p.name in medians and not p.int8), key=medians.__getitem__, default="")
    result = []
    for peer, score in found:
        interval = bootstrap(score)
        row = {
            "name": peer.name,
            "ours": peer.ours,
            "int8": peer.int8,
            "wer": round(score.rate, 4),
            "wer_interval": [round(interval.low, 4), round(interval.high, 4)],
            "bytes": peer.bytes,
            "peak_rss_bytes": peer.peak_rss_bytes,
            "quantise_seconds": None if peer.quantise_seconds is None else round(peer.quantise_seconds, 2),
            "float_ops": peer.float_ops,
        }
        if peer.name in medians:
            ratios = [a / b for a, b in zip(seconds[best], seconds[peer.name], strict=True)]
            row["speedup_vs_best_float"] = round(medians[best] / medians[peer.name], 4)
            row["speedup_range"] = [round(min(ratios), 4), round(max(ratios), 4)]
        result.append(row)
    return result


def main() -> None:
    """Measure all of them."""
    parser = arguments_of(__doc__)
    add_run(parser)
    add_data(parser)
    parser.add_argument("--count", type=int, default=0, help="test recordings; default: all")
    parser.add_argument("--peers", help="some of these, with commas; default: all")
    arguments = parser.parse_args()
    _, model = open_plan(arguments.run, arguments.checkpoint)
    data, settings = sources(arguments), Settings(batch_size=1)
    speech, task, settings = read_splits(model.frontend, data, settings)
    test = speech["test"]
    if arguments.count:
        test = test.part(range(min(arguments.count, len(test.utterances))), 1, settings.data.batch_seconds)
    found: list[Scored] = []
    failed: dict[str, str] = {}

    def keep(seconds: Mapping[str, Sequence[float]]) -> str:
        about = {"model": arguments.run.name, "data": data, "utterances": len(test.utterances), "rounds": ROUNDS}
        words = int(found[0][1].total)
        return save("peers", {**about, "words": words, "failed": failed, "rows": rows(found, seconds)}, timed=True)

    wanted = arguments.peers.split(",") if arguments.peers else list(QUANTISERS)
    with TemporaryDirectory(prefix="stablequant-") as work:
        for name, make in systems(model, arguments.run, speech, Path(work)):
            if name in QUANTISERS and name not in wanted:
                continue
            try:
                peer = make()
                score = task.score(test.utterances, [peer.recognize([w])[0] for w in test.waveforms])
            except Exception as error:  # whatever a peer fails with is its result
                if name not in QUANTISERS:
                    raise
                failed[name] = why(error, work)
                print(f"{name}: {failed[name]}", flush=True)
                continue
            found.append((peer, score))
            print(f"{peer.name}: {score.rate:.2f} %", flush=True)
            keep({})
        runners = {p.name: lambda w, p=p: p.recognize([w]) for p, _ in found}
        seconds = interleaved(runners, test.sample(TIMED), ROUNDS)
    print(peers.table(keep(seconds)))


if __name__ == "__main__":
    main()
