"""Rows of peers on the same test speech: words, speed in turns, bytes, memory."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from peers.row import Peer, in_onnxruntime, in_openvino
from stablequant.data.speech import Speech
from stablequant.families.model import SpeechModel
from stablequant.heads.head import Answer
from stablequant.measure.latency import interleaved
from stablequant.quantize.plan import Plan
from stablequant.runtime.registry import file_names
from stablequant.tasks.bootstrap import paired_bootstrap
from stablequant.tasks.score import Score
from stablequant.tasks.task import Task

#: What makes a row of files, by runtime.
IN = {"onnxruntime": in_onnxruntime, "openvino": in_openvino}


def of_runs(model: SpeechModel, folders: Sequence[Path]) -> Iterator[Peer]:
    """Rows of the files in folders that quantize wrote, in every runtime that they are for."""
    for folder in folders:
        window = Plan.load(folder / "plan.json").settings.data.window
        for name, row in IN.items():
            names = file_names(model.frontend.head.graphs, name)
            if all((folder / file).is_file() for file in names.values()):
                files = {graph: folder / file for graph, file in names.items()}
                yield row(f"stablequant, {folder.name}", model.asked(window=window), files, ours=True)


def measured(
    found: Sequence[Peer], test: Speech, task: Task, timed: int, rounds: int
) -> tuple[list[dict[str, Any]], list[Score], list[Answer]]:
    """A row a peer, their scores, and what the first of them said; the first is what all others' words are compared with.

    Speeds are end to end, one recording at a time, ``timed`` recordings of all lengths in turns, against the faster float32.
    """
    runners = {p.name: lambda w, p=p: p.recognize([w]) for p in found}
    seconds = interleaved(runners, test.sample(timed), rounds)
    scores, answers = [], []
    for peer in found:
        answers.append([peer.recognize([w])[0] for w in test.waveforms])
        scores.append(task.score(test.utterances, answers[-1]))
        print(f"{peer.name}: {scores[-1].rate:.2f}", file=sys.stderr, flush=True)
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    best = min(medians[p.name] for p in found if "float32" in p.name and "window" not in p.name)
    rows = []
    for peer, score, said in zip(found, scores, answers, strict=True):
        difference = paired_bootstrap(scores[0], score)
        rows.append(
            {
                "name": peer.name,
                "ours": peer.ours,
                "int8": peer.int8,
                "wer": round(score.rate, 4),
                "runaways": sum(a.truncated for a in said),
                "delta": round(difference.delta, 4),
                "delta_interval": [round(difference.low, 4), round(difference.high, 4)],
                "speedup_vs_best_float": round(best / medians[peer.name], 4),
                "speedup_rounds": [round(best / s, 4) for s in seconds[peer.name]],
                "bytes": peer.bytes,
                "peak_rss_bytes": peer.peak_rss_bytes,
                "float_ops": peer.float_ops,
            }
        )
    return rows, scores, answers[0]
