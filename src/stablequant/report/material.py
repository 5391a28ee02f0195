"""All that the page of a run shows: from the run itself, or from the folder that it left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.data.audio import read
from stablequant.errors import AudioError
from stablequant.jobs.evidence import Evidence
from stablequant.observe.collect import Histograms
from stablequant.observe.storage import load_histograms
from stablequant.quantize.plan import Plan
from stablequant.report.results import read_result, whole_summary

#: Hertz of recordings that are read from their files to be played: what models listen to.
RATE = 16_000

#: Samples ``[T]`` of the recording that a row of the regressions names; ``None`` where it is not at hand.
Sound = Callable[[Mapping[str, Any]], NDArray[np.float32] | None]


@dataclass(frozen=True)
class Material:
    """What the page is made of.

    Attributes:
        plan: Which scheme each layer has, and why.
        summary: As summary.json holds it.
        histograms: Of every activation; empty where the folder has lost them.
        sound: Finds recordings.
        rate: Hertz of what it finds.
        results: What other commands found out about the run, by command: "evaluate", "clipped", "drift".
    """

    plan: Plan
    summary: Mapping[str, Any]
    histograms: Histograms
    sound: Sound
    rate: int = RATE
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, evidence: Evidence, summary: Mapping[str, Any]) -> Material:
        """Of a run that has just ended."""
        speech = evidence.job.speech["test"]
        waveforms = {u.id: w for u, w in zip(speech.utterances, speech.waveforms, strict=True)}
        return cls(
            evidence.plan, summary, evidence.histograms, lambda row: waveforms.get(row["id"]), speech.sampling_rate
        )

    @classmethod
    def read(cls, folder: Path, given: Sequence[Path] = ()) -> Material:
        """Of a folder that quantize wrote, and files that ``--json`` of other commands printed.

        Raises:
            PlanError: The plan is missing or damaged.
            DataError: The summary, the histograms or one of ``given`` is missing, damaged, or something else.
        """
        plan, summary = Plan.load(folder / "plan.json"), whole_summary(folder)
        kept = folder / "activations.npz"
        flat = load_histograms(kept)[0] if kept.is_file() else {}
        histograms: Histograms = {}
        for name, histogram in flat.items():
            layer = name.rpartition("#")[0]
            histograms[layer] = (*histograms.get(layer, ()), histogram)
        return cls(plan, summary, histograms, _from_file, RATE, dict(read_result(path) for path in given))


def _from_file(row: Mapping[str, Any]) -> NDArray[np.float32] | None:
    try:
        return None if row["audio"] is None else read(Path(row["audio"]), RATE)
    except AudioError:
        return None
