"""Does `stablequant drift` stay silent on more of the same speech, and fire on another kind?

    python bench/drift.py                                                    # Moonshine tiny, the embedded speech
    python bench/drift.py MODEL --data SOURCE --other french=FOLDER --name NAME

1. The speech is divided at random: calibration, and a second sample of the same kind. All layers have static grids of least
   squared error, made from that calibration.
2. False alarms: parts of the second sample against calibration; and new random divisions of all, each with limits of its own.
3. Detection: the second sample with noise, through a telephone, louder and softer, and speech of other kinds (--other).

The other language that was measured is of the same kind otherwise: Debian's asterisk-core-sounds-fr-g722 1.6.1-1, one studio
voice, decoded with PyPI's G722 to files of 16 kHz, those of 1 to 12 s.

Writes bench/results/drift.json, other models and kinds in it left as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from inputs import WORK, add_data, add_model, arguments_of, sources
from numpy.typing import NDArray
from result_path import RESULTS, command, save
from scipy.signal import butter, resample_poly, sosfilt
from tables.drift import table

from stablequant.cli.console import ProgressLine
from stablequant.data import manifest
from stablequant.data.audio import read_many
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.files import digest
from stablequant.grid import chance
from stablequant.grid.affine import QuantParams
from stablequant.grid.chance import STATISTICS, Ends, Limits
from stablequant.observe.collect import observe
from stablequant.observe.recordings import Seen, Watcher
from stablequant.observe.reference import Reference
from stablequant.quantize import calibrated
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.runtime.processor import machine
from stablequant.settings import Settings

Waveform = NDArray[np.float32]

#: Recordings of calibration, of the second sample at most, and of each condition.
CALIBRATION, SECOND, CONDITION = 64, 96, 16
#: Sizes of the samples that are judged, how many are drawn of each, and how many divisions there are.
SIZES, DRAWN, DIVISIONS = (4, 16), 100, 100
RATE = 0.01


def noise(x: Waveform, rate: int, rng: np.random.Generator) -> Waveform:
    """White noise 10 dB below the recording."""
    return x + rng.standard_normal(len(x)) * np.sqrt(np.mean(x**2)) * 10 ** (-10 / 20)


def telephone(x: Waveform, rate: int, rng: np.random.Generator) -> Waveform:
    """300 to 3400 Hz, 8 kHz, mu-law of 8 bits (G.711)."""
    narrow = resample_poly(sosfilt(butter(4, (300, 3400), "band", fs=rate, output="sos"), x), 8000, rate)
    law = np.sign(narrow) * np.log1p(255 * np.abs(np.clip(narrow, -1, 1))) / np.log(256)
    coded = np.round(law * 127) / 127
    return resample_poly(np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255, rate, 8000)


def gain(decibels: float) -> Callable[[Waveform, int, np.random.Generator], Waveform]:
    """Louder or softer; what leaves [-1, 1] is cut off, as in a recording."""
    return lambda x, rate, rng: x * 10 ** (decibels / 20)


CONDITIONS: Mapping[str, Callable[[Waveform, int, np.random.Generator], Waveform]] = {
    "noise at 10 dB": noise,
    "telephone": telephone,
    "gain -20 dB": gain(-20),
    "gain +6 dB": gain(6),
    "gain +20 dB": gain(20),
}


def waveforms(model: SpeechModel, data: Sequence[str], seed: int, most: int) -> list[Waveform]:
    """At most so many recordings of ``data``, in random order."""
    found = sorted(manifest.load(data), key=lambda u: u.id)
    order = np.random.default_rng(seed).permutation(len(found))[:most]
    front = model.frontend
    kept = read_many(
        [found[i] for i in order], front.sampling_rate, 0.05, shortest=front.bounds.shortest, longest=30.0
    ).kept
    return [samples for _, samples in kept]


def seen(model: SpeechModel, scheme: Scheme, sounds: Sequence[Waveform], title: str) -> Reference:
    """Every recording of ``sounds``, observed once and kept in build/bench."""
    made_of = [
        model.fingerprint,
        {n: s.identity() for n, s in scheme.items()},
        [float(np.abs(s).sum()) for s in sounds],
    ]
    path = WORK / "drift" / f"{digest(made_of)[:16]}.npz"
    if path.is_file():
        return Reference.load(path)
    ends: dict[str, Ends] = {}
    for name, layer in scheme.items():
        for index, grid in enumerate(layer.activations):
            assert isinstance(grid, QuantParams)
            ends[f"{name}#{index}"] = (grid.unclipped.low, grid.unclipped.high)
    watch = Watcher(model, Simulator(model).backend(scheme), ends, matmuls=False)
    progress = ProgressLine()

    def rows() -> Iterator[Seen]:
        for done, sound in enumerate(sounds, 1):
            yield watch([sound])
            progress(title, done, len(sounds))

    made = Reference.of(rows(), ends, {})
    made.save(path)
    return made


def part(reference: Reference, rows: NDArray[np.int64]) -> Reference:
    """Some of the recordings."""
    activations = {
        name: replace(a, mass=a.mass[rows], outside=a.outside[rows], largest=a.largest[rows])
        for name, a in reference.activations.items()
    }
    return Reference({}, activations, reference.nats[rows], reference.steps[rows], reference.seconds[rows])


class Judge:
    """Calibration, and what it allows of a second sample, by its size."""

    def __init__(self, calibration: Reference, draws: int = chance.DRAWS) -> None:
        """Judge by ``calibration``."""
        self.calibration, self._draws = calibration, draws
        self._limits: dict[int, Limits] = {}

    def limits(self, judged: Reference) -> Limits:
        """What `stablequant drift` allows of a sample as large as ``judged``."""
        c = self.calibration
        many = c.as_many(len(judged.seconds), float(judged.seconds.sum()))
        if many not in self._limits:
            found = chance.limits(c.activations.values(), c.nats, c.steps, many, RATE, draws=self._draws)
            self._limits[many] = found
        return self._limits[many]


def excess(judge: Judge, judged: Reference) -> dict[str, Any]:
    """By statistic: activations beyond their limits, and the one furthest beyond."""
    calibration, limits = judge.calibration, judge.limits(judged)
    names = list(calibration.activations)
    pairs = [(calibration.activations[n], judged.activations[n]) for n in names]
    values = np.array([chance.statistics(c, j.whole, int(j.outside.sum(dtype=np.int64))) for c, j in pairs])
    ratio = judged.nats.sum() / judged.steps.sum() / (calibration.nats.sum() / calibration.steps.sum())
    found: dict[str, Any] = {}
    for index, statistic in enumerate(STATISTICS):
        with np.errstate(divide="ignore", invalid="ignore"):
            times = np.nan_to_num(values[:, index] / limits.values[:, index], nan=0.0, posinf=1e9)
        worst = int(times.argmax())
        found[statistic] = {
            "activations": int((times > 1).sum()),
            "worst": names[worst].rpartition("#")[0],
            "value": float(f"{values[worst, index]:.3g}"),
            "limit": float(f"{limits.values[worst, index]:.3g}"),
        }
    found["divergence"] = {"ratio": float(f"{ratio:.3g}"), "limit": float(f"{limits.ratio:.3g}")}
    return found


def fires(found: Mapping[str, Any]) -> list[str]:
    """The statistics that say so."""
    told = [s for s in STATISTICS if found[s]["activations"]]
    return told + ["divergence"] * (found["divergence"]["ratio"] > found["divergence"]["limit"])


def detected(judge: Judge, judged: Reference, rng: np.random.Generator) -> dict[str, Any]:
    """Whether the whole sample is told, and parts of it."""
    count = len(judged.seconds)
    whole = excess(judge, judged)
    parts = [part(judged, rng.permutation(count)[: min(SIZES)]) for _ in range(20)]
    share = float(np.mean([bool(fires(excess(judge, p))) for p in parts]))
    few = {"recordings": min(SIZES), "detected": share}
    return {"recordings": count, "detected": bool(fires(whole)), "by": fires(whole), "few": few, **whole}


def false_alarms(judge: Judge, second: Reference, rng: np.random.Generator) -> dict[str, Any]:
    """Rates at which parts of the second sample are told."""
    count = len(second.seconds)
    found = {}
    for size in SIZES:
        draws = (part(second, rng.permutation(count)[:size]) for _ in range(DRAWN))
        found[f"parts of {size}"] = rates([fires(excess(judge, d)) for d in draws])
    return found


def divisions(whole: Reference, calibration: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Rates of samples of new divisions of all recordings, each with limits of its own; after each ten."""
    told = []
    for done in range(1, DIVISIONS + 1):
        order = rng.permutation(len(whole.seconds))
        judge = Judge(part(whole, order[:calibration]), draws=500)
        told.append(fires(excess(judge, part(whole, order[calibration:]))))
        if not done % 10:
            yield rates(told)


def rates(told: Sequence[Sequence[str]]) -> dict[str, Any]:
    """How often any statistic was told, and each."""
    by = {s: round(float(np.mean([s in t for t in told])), 4) for s in (*STATISTICS, "divergence")}
    return {"samples": len(told), "rate": round(float(np.mean([bool(t) for t in told])), 4), "by": by}


def joined(a: Reference, b: Reference) -> Reference:
    """Both together; their joined bins are brought in line."""
    activations = {}
    for name, first in a.activations.items():
        second = b.activations[name]
        bins = np.union1d(first.bins, second.bins)
        mass = np.zeros((len(a.seconds) + len(b.seconds), len(bins)), np.uint32)
        mass[: len(a.seconds), np.searchsorted(bins, first.bins)] = first.mass
        mass[len(a.seconds) :, np.searchsorted(bins, second.bins)] = second.mass
        both = (np.concatenate((getattr(first, n), getattr(second, n))) for n in ("outside", "largest"))
        activations[name] = chance.Activation(bins, mass, *both, first.ends)
    rest = (np.concatenate((getattr(a, n), getattr(b, n))) for n in ("nats", "steps", "seconds"))
    return Reference({}, activations, *rest)


def main() -> None:
    """Measure one model on one kind of speech."""
    parser = arguments_of(__doc__)
    add_model(parser)
    add_data(parser)
    parser.add_argument("--name", help="of the model and kind in the result; default: the folders'")
    parser.add_argument("--other", action="append", default=[], metavar="NAME=SOURCE", help="speech of another kind")
    arguments = parser.parse_args()
    model, data = load(arguments.model), sources(arguments)
    label = arguments.name or f"{Path(arguments.model).name} on {Path(data[0]).stem}"
    path = RESULTS / "drift.json"
    models: dict[str, Any] = json.loads(path.read_text())["models"] if path.is_file() else {}
    rng = np.random.default_rng(0)
    sounds = waveforms(model, data, 0, CALIBRATION + SECOND)
    count = min(CALIBRATION, len(sounds) // 2)
    first, rest = sounds[:count], sounds[count:]
    scheme = calibrated.uniform(observe(model, [[s] for s in first]), "mse", Settings())
    calibration, second = seen(model, scheme, first, "calibration"), seen(model, scheme, rest, "second sample")
    judge = Judge(calibration)
    row: dict[str, Any] = {
        "sources": [Path(source).stem for source in data],
        "calibration": {"recordings": count, "seconds": round(float(calibration.seconds.sum()), 1)},
        "second": {"recordings": len(rest), "seconds": round(float(second.seconds.sum()), 1)},
        "told_rate": RATE,
        "activations": len(calibration.activations),
        "false_alarms": false_alarms(judge, second, rng),
        "conditions": {},
        "command": command(),
        "machine": machine(),
    }

    def keep() -> None:
        models[label] = row
        save("drift", {"models": models})

    rate = model.frontend.sampling_rate
    kinds = {
        name: [
            np.clip(f(s, rate, np.random.default_rng(i)), -1, 1).astype(np.float32)
            for i, s in enumerate(rest[:CONDITION])
        ]
        for name, f in CONDITIONS.items()
    }
    for pair in arguments.other:
        name, _, source = pair.partition("=")
        kinds[name] = waveforms(model, [source], 0, CONDITION)
    for name, kind in kinds.items():
        row["conditions"][name] = detected(judge, seen(model, scheme, kind, name), rng)
        keep()
    for found in divisions(joined(calibration, second), count, rng):
        row["false_alarms"][f"new divisions, {len(rest)} recordings"] = found
        keep()
    print(table("drift"))


if __name__ == "__main__":
    main()
