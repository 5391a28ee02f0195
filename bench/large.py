"""What the default recipe takes at HuBERT-large's size: float evaluations, seconds of processor by stage, and the most memory.

    python bench/large.py                     # 64 utterances to search on; half an hour on two quiet cores
    python bench/large.py --utterances 8      # the same batches, an eighth as many

Random weights of HuBERT-large's shape, and recordings of examples/asterisk joined to pieces of ten seconds, without text: so many
to search on, half as many to calibrate with, an eighth to test on. An evaluation is the float model on all that are searched on.
Random weights transcribe nothing, so what the choice comes to says nothing of a trained model, but a pass multiplies as often as
there, and batches hold what they would hold. Seconds are of this process, all its threads, so that other work on the machine
counts little. Stages are written to bench/results/large.json as they end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
import numpy as np
import soundfile
import torch
from random_models import checkpoint
from result_path import ROOT, command, save
from tables import large

from stablequant.cli.console import ProgressLine
from stablequant.data import manifest
from stablequant.families.checkpoint import load
from stablequant.jobs.evidence import Evidence, Job
from stablequant.jobs.quantize import run
from stablequant.jobs.speech import decode, divide, read
from stablequant.measure import memory
from stablequant.progress import Clock
from stablequant.quantize.simulate import Simulator
from stablequant.recipes import DEFAULT, recipe
from stablequant.search.journal import finished
from stablequant.settings import Settings

SIZE, SECONDS = "HuBERT-large", 10
#: Recordings of each split, as shares of those that are searched on.
SHARES = {"train": 2, "dev": 1, "test": 8}
WORK = inputs.WORK / "large"


@dataclass
class Watch(Clock):
    """A clock of the processor that notes the most memory of each stage, and writes down what is known whenever one ends.

    Attributes:
        result: What is written.
        cpu: Seconds of processor by stage.
        peaks: Bytes by stage.
        out: The folder of the run.
    """

    result: dict[str, Any] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    out: Path = WORK

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        _forget_peak()
        began = time.process_time()
        with super().stage(name):
            yield
        self.cpu[name] = round(time.process_time() - began, 1)
        self.peaks[name] = memory.peak()
        self.result |= {"cpu_seconds": self.cpu, "peak_bytes": self.peaks}
        if name == "search":
            self.result["trials"] = finished(self.out / "trials.sqlite")
        save("large", self.result)


def _forget_peak() -> None:
    """Let Linux count the most memory anew (proc(5), clear_refs); elsewhere a stage's is that of all before it too."""
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")


def joined(folder: Path, count: int) -> Path:
    """A folder of recordings of ten seconds, real speech, and their manifest."""
    rows, rate = [], 16000
    settings = Settings()
    every = manifest.load([str(ROOT / data) for data in inputs.DATA])
    frontend = load(checkpoint("wav2vec2-base")).frontend
    sounds = decode(frontend, None, {"all": sorted(every, key=lambda u: u.id)}, settings)["all"].waveforms
    stream = np.concatenate(sounds)
    folder.mkdir(parents=True, exist_ok=True)
    splits = [split for split, share in SHARES.items() for _ in range(max(1, count // share))]
    for number, split in enumerate(splits):
        piece = stream[number * SECONDS * rate :][: SECONDS * rate]
        soundfile.write(folder / f"{number:03}.wav", piece, rate)
        rows.append({"id": f"{number:03}", "audio": f"{number:03}.wav", "split": split})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def measure(threads: int, count: int) -> dict[str, Any]:
    """The whole job, and what it took."""
    torch.set_num_threads(threads)
    usual = Settings.parse(recipe(DEFAULT).settings)
    share = count / usual.search.divergence_utterances
    settings = usual.updated(estimate_utterances=max(1, round(share * usual.search.estimate_utterances)))
    data = [str(joined(WORK / "speech", count))]
    clock = Watch(result={"command": command(), "threads": threads, "utterances": count, "seconds_each": SECONDS})
    with clock.stage("load"):
        model = load(checkpoint(SIZE))
        division = divide(data, settings)
        speech = read(model.frontend, division)
    with clock.stage("float evaluation"):
        backend = Simulator(model).backend({})
        for batch in speech["dev"].batches:
            model.frontend.recognize(backend, speech["dev"].waveforms_of(batch))
    with TemporaryDirectory(prefix="stablequant-") as out:
        clock.out = Path(out)
        job = Job(model, speech, division.task, clock.out, division.settings, name=SIZE, force=True, clock=clock)
        evidence = run(replace(job, progress=ProgressLine()))
    return clock.result | found(evidence)


def found(evidence: Evidence) -> dict[str, Any]:
    """What the search counted and came to."""
    spent, allocation = evidence.search.spent, evidence.search.allocation
    assert allocation is not None and evidence.search.paper is not None
    least, most = (f([min(c.nats.values()) for c in allocation.choices.values() if c.nats]) for f in (min, max))
    return {
        "evaluations": round(spent.evaluations, 2),
        "search_seconds": round(spent.seconds, 1),
        "paper_evaluations": round(evidence.search.paper.evaluations, 2),
        "paper_flagged": len(evidence.search.paper.flagged),
        "ops": len(evidence.plan.layers),
        "float_bytes": evidence.model.float_bytes,
        "chosen": float(f"{allocation.chosen.score.rate:.3g}"),
        "accurate": float(f"{allocation.accurate.score.rate:.3g}"),
        "nats_of_layers": [float(f"{x:.3g}") for x in (least, most)],
    }


def main() -> None:
    """Measure."""
    parser = inputs.arguments_of(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--utterances", type=int, default=64, help="that are searched on")
    arguments = parser.parse_args()
    print(large.table(save("large", measure(arguments.threads, arguments.utterances))))


if __name__ == "__main__":
    main()
