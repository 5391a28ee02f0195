"""How much silence Whisper needs behind the speech where its window is shortened: word errors and runaways by seconds of it.

    python bench/windows.py openai/whisper-tiny.en --data examples/asterisk

The float model in ONNX Runtime, one recording at a time, each cut to itself and so many seconds of the silence that pads it to
the window. Without "the end" its positions are simply the window's first; with it the last of them are the window's last, as
window=audio has them. Differences to all of the window have their paired 95 % interval. A runaway is an answer that the limit
of its length cut off. Writes bench/results/windows.json after every row; --more keeps the rows of other speech that are there.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from inputs import add_data, arguments_of, sources
from result_path import command, load_result, save
from tables import windows

from stablequant.data import manifest
from stablequant.data.splits import make_splits
from stablequant.export import package
from stablequant.families.checkpoint import load
from stablequant.families.family import Features
from stablequant.families.frontend import Frontend
from stablequant.heads.head import Answer
from stablequant.jobs.speech import decode
from stablequant.network.backend import Backend
from stablequant.network.graph import Graph
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import paired_bootstrap
from stablequant.tasks.score import Score
from stablequant.tasks.task import task_of

#: Seconds that every recording is padded to.
WINDOW = 30.0
#: Frames of the spectrogram a second, and what their number is a multiple of.
FRAMES, EVEN = 100, 2


def cut(features: Features, seconds: float) -> Features:
    """The first ``seconds`` of a spectrogram."""
    (mel,) = features.feeds.values()
    frames = min(mel.shape[1], EVEN * math.ceil(seconds * FRAMES / EVEN))
    return replace(features, feeds={"input_features": np.ascontiguousarray(mel[:, :frames])})


def answer(frontend: Frontend, backend: Backend, features: Features) -> Answer:
    """Of one recording."""
    return frontend.head.read(backend, frontend.encode(backend, features), features.sizes)[0]


def without_end(graph: Graph) -> Graph:
    """``graph`` with the first positions of the window alone."""
    made = graph.sized(any_length=True)
    made.nodes = [replace(n, attrs={**n.attrs, "last": 0}) if "last" in n.attrs else n for n in graph.nodes]
    return made


def measured(model: str, source: str, cases: list[tuple[float, bool]], count: int) -> Iterator[dict[str, Any]]:
    """A row for the whole window and for each of ``cases``, seconds and with the end or not, on the test speech of ``source``."""
    loaded = load(model).asked(window="audio")
    frontend = loaded.asked().frontend
    utterances = manifest.load([source])
    task = task_of(Settings().data).suited(utterances)
    settings = Settings().updated(**task.decided())
    test = decode(frontend, task, {"test": make_splits(utterances, 0).test}, settings)["test"]
    test = test.first(count) if count else test
    whole = [frontend.features([w]) for w in test.waveforms]
    reference: tuple[Score, list[Answer]] | None = None
    with TemporaryDirectory(prefix="stablequant-") as work:
        plain = replace(loaded, graphs=tuple(map(without_end, loaded.graphs)))
        backends = {}
        for end, made in ((True, loaded), (False, plain)):
            folder = Path(work) / str(end)
            folder.mkdir()
            backends[end] = OnnxRuntimeBackend(package.write_graphs(made, None, folder), threads=1)
        for silence, end in [(math.inf, True), *cases]:
            backend, began = backends[end], time.process_time()
            lengths = [f.sizes[0] / frontend.sampling_rate + min(silence, WINDOW) for f in whole]
            answers = [answer(frontend, backend, cut(f, n)) for f, n in zip(whole, lengths, strict=True)]
            seconds = time.process_time() - began
            score = task.score(test.utterances, answers)
            reference = reference or (score, answers)
            difference = paired_bootstrap(reference[0], score)
            yield {
                "data": Path(source).name,
                "utterances": len(answers),
                "words": int(score.total),
                "silence": None if math.isinf(silence) else silence,
                "end": end,
                "wer": round(score.rate, 4),
                "delta": round(difference.delta, 4),
                "delta_interval": [round(difference.low, 4), round(difference.high, 4)],
                "runaways": sum(a.truncated for a in answers),
                "identical": sum(a.tokens == b.tokens for a, b in zip(answers, reference[1], strict=True)),
                "processor_seconds": round(seconds, 2),
            }


def main() -> None:
    """Measure all of them."""
    parser = arguments_of(__doc__)
    parser.add_argument("model", help="folder or hub id of a Whisper checkpoint for English")
    add_data(parser)
    parser.add_argument("--silences", default="0.5,1,2", help="seconds; default: 0.5,1,2")
    parser.add_argument("--plain", default="0,1,2,4,8", help="seconds, without the end; default: 0,1,2,4,8")
    parser.add_argument("--count", type=int, default=0, help="test recordings of each source; default: all")
    parser.add_argument("--more", action="store_true", help="keep the rows of other speech that are there")
    arguments = parser.parse_args()
    data, rows, commands = sources(arguments), list[dict[str, Any]](), list[str]()
    if arguments.more:
        found = load_result("windows")
        rows = [row for row in found["rows"] if row["data"] not in {Path(source).name for source in data}]
        commands = found["commands"]
    commands.append(command())
    given = ((arguments.silences, True), (arguments.plain, False))
    cases = [(float(seconds), end) for listed, end in given for seconds in listed.split(",") if seconds]
    for source in data:
        for row in measured(arguments.model, source, cases, arguments.count):
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
            save("windows", {"model": Path(arguments.model).name, "commands": commands, "rows": rows})
    print(windows.table("windows"))


if __name__ == "__main__":
    main()
