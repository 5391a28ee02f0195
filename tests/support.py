"""What several tests share: the two real models, a few short recordings, and grids calibrated on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stablequant.data import manifest
from stablequant.data.audio import read
from stablequant.data.speech import Speech
from stablequant.data.utterance import Utterance
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.observe.collect import Histograms, observe
from stablequant.quantize import calibrated
from stablequant.quantize.scheme import LayerScheme
from stablequant.settings import Settings

# The models are tiny: a second thread hardly helps, and on a busy machine the two wait for each other a hundred times
# longer than they compute.
torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]
MOONSHINE = ROOT / "examples" / "moonshine-tiny"
GRAFT = ROOT / "tests" / "assets" / "wavlm-graft"
SPEECH = ROOT / "examples" / "asterisk"

#: Ids of the recordings that tests decode, a second or two each and of unequal length.
SHORT = ("do-not-disturb", "is-in-use", "vm-nomore", "please-try-again")
#: Those that grids are calibrated on: others.
CALIBRATION = ("conf-thereare", "vm-msgsaved", "to-listen-to-it")


@cache
def moonshine() -> SpeechModel:
    return load(MOONSHINE)


@cache
def graft() -> SpeechModel:
    return load(GRAFT)


MODELS = {"moonshine": moonshine, "graft": graft}


@cache
def _utterances() -> Mapping[str, Utterance]:
    return {u.id: u for u in manifest.load([str(SPEECH)])}


@cache
def waveform(name: str) -> NDArray[np.float32]:
    return read(_utterances()[name], 16000)


def waveforms(names: Sequence[str] = SHORT) -> list[NDArray[np.float32]]:
    return [waveform(name) for name in names]


def speech(names: Sequence[str] = SHORT, *, batch_size: int = 2) -> Speech:
    chosen = [_utterances()[name] for name in names]
    return Speech.read(chosen, 16000, max_bad_fraction=0.0, batch_size=batch_size, batch_seconds=160.0)


def feeds(model: SpeechModel, sounds: Sequence[NDArray[np.float32]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in model.frontend.features(sounds).feeds.items()}


@cache
def histograms(name: str) -> Histograms:
    """Of every activation, attention's products too, of the model called ``name``."""
    return observe(MODELS[name](), [waveforms(CALIBRATION)], matmuls=True)


def scheme(name: str, calibrator: str = "mse", *, matmuls: bool = False, **settings: Any) -> dict[str, LayerScheme]:
    """Every operation of the model called ``name`` quantised by ``calibrator``."""
    found = calibrated.uniform(histograms(name), calibrator, Settings(**settings))
    return {op.name: found[op.name] for op in MODELS[name]().ops(matmuls=matmuls)}


def empty_past(model: SpeechModel, batch: int) -> dict[str, Tensor]:
    """A decoder's cache before the first token."""
    return {
        spec.name: torch.zeros(batch, int(spec.shape[1]), 0, int(spec.shape[3]))
        for spec in model.graph("decoder").inputs
        if "past" in spec.shape
    }


def relative_difference(a: Tensor | NDArray[Any], b: Tensor | NDArray[Any]) -> float:
    """Largest difference, as a share of the range of ``b``."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / np.ptp(b))


def checksum(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(sorted(weights)).encode())
    for key in sorted(weights):
        digest.update(weights[key].numpy().tobytes())
    return digest.hexdigest()


def small_manifest(path: Path, count: int = 5) -> Path:
    """The shortest ``count`` recordings of each split, with absolute paths, as a manifest at ``path``."""
    rows = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text().splitlines()]
    kept = []
    for split in ("train", "dev", "test"):
        kept += sorted((r for r in rows if r["split"] == split), key=lambda r: float(r["duration"]))[:count]
    lines = [json.dumps(row | {"audio": str(SPEECH / row["audio"])}) for row in kept]
    path.write_text("\n".join(lines) + "\n")
    return path
