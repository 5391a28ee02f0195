"""Observe speech once: its histograms are kept in a file with what they were made from, and found there again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stablequant.data.speech import Speech
from stablequant.families.model import SpeechModel
from stablequant.files import digest
from stablequant.grid.histogram import Histogram
from stablequant.observe.collect import Histograms, observe
from stablequant.observe.storage import load_histograms, save_histograms
from stablequant.progress import Progress, silent


def observe_once(
    model: SpeechModel, speech: Speech, matmuls: bool, path: Path, progress: Progress = silent
) -> Histograms:
    """Histograms from ``path`` if they are of this model and speech, else from one pass, kept there.

    Args:
        model: Runs in float.
        speech: What it is run on.
        matmuls: Whether to observe attention's products too.
        path: The file.
        progress: Told what is running, how many batches are done, and how many there are.
    """
    meta = {**identity(model, speech), "matmuls": matmuls}
    if path.is_file():
        stored, known = load_histograms(path)
        if known == meta:
            ops = model.ops(matmuls=matmuls)
            return {op.name: tuple(stored[_key(op.name, i)] for i in range(len(op.node.activations))) for op in ops}
    progress("observing activations", 0, len(speech.batches))

    def batches() -> Iterator[list[NDArray[np.float32]]]:
        for done, batch in enumerate(speech.batches, 1):
            yield speech.waveforms_of(batch)
            progress("observing activations", done, len(speech.batches))

    histograms = observe(model, batches(), matmuls=matmuls)
    flat: dict[str, Histogram] = {_key(name, i): h for name, hs in histograms.items() for i, h in enumerate(hs)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_histograms(path, flat, meta)
    return histograms


def identity(model: SpeechModel, speech: Speech) -> dict[str, str]:
    """What an observation of ``speech`` depends on, batches included: another order of sums rounds otherwise."""
    return {
        "model": model.fingerprint,
        "processor": model.processor_fingerprint,
        "data": speech.fingerprint,
        "batches": digest(speech.batches),
    }


def _key(name: str, index: int) -> str:
    return f"{name}#{index}"
