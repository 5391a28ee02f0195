"""Whether outliers reach encoder-decoders: each layer's largest input against the usual ones, and what rounding it alone costs.

    python bench/outliers.py examples/moonshine-tiny openai/whisper-tiny.en --data examples/asterisk

For every layer that can be quantised: the largest magnitude of its input over the 99.9th percentile of magnitudes, on --count
calibration recordings; and the divergence from the float model that 8 bits of its input alone cause, in nats a token, with one
scale that covers the largest value (the calibrator max: where outliers cost) and with a scale a frame. It is estimated for all
layers in one pass over as many dev recordings (search/fisher.py), not measured layer by layer. Whisper hears the audio alone
(window=audio).
Writes bench/results/outliers.json, and docs/results/outliers.svg of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from inputs import add_data, arguments_of, sources
from result_path import ROOT, save
from tables import outliers

from stablequant.families.checkpoint import load
from stablequant.families.family import Windowed
from stablequant.families.model import Op, SpeechModel
from stablequant.grid.histogram import Histogram
from stablequant.jobs.speech import read_splits
from stablequant.observe.collect import observe
from stablequant.quantize import by_frame, calibrated
from stablequant.quantize.simulate import Simulator
from stablequant.search.fisher import estimate
from stablequant.search.journal import Journal
from stablequant.search.objective import Divergence
from stablequant.search.trials import Trials
from stablequant.settings import Settings

#: The percentile of magnitudes that stands for usual ones.
USUAL = 99.9


def part(op: Op) -> str:
    """Which part of a model an operation belongs to."""
    if op.graph == "encoder" and "encoder_attn" not in op.name:
        return "encoder"
    if "encoder_attn" in op.name:
        return "cross-attention"
    return "decoder" if ".layers." in op.name else "head"


def ratio(histogram: Histogram) -> float:
    """The largest magnitude over the usual ones' upper end."""
    return max(-histogram.minimum, histogram.maximum) / histogram.percentile_abs(USUAL)


def layers_of(model: SpeechModel, data: list[str], count: int) -> dict[str, Any]:
    """A row a layer, in the order in which they run."""
    settings = Settings(calibration_utterances=count, batch_size=1, scales="frame", strategy="none")
    speech, _, settings = read_splits(model.frontend, data, settings)
    calibration, dev = speech["calibration"], speech["dev"].part(range(count), 1, settings.data.batch_seconds)
    histograms = observe(model, (calibration.waveforms_of(batch) for batch in calibration.batches))
    frames = by_frame.base(model, histograms, settings)
    largest = calibrated.uniform(histograms, "max", settings)
    options = {name: {"max": largest[name], "frame": frames[name]} for name in histograms}
    with TemporaryDirectory(prefix="stablequant-") as work, Journal(Path(work) / "trials.sqlite") as journal:
        nats = estimate(Trials(Simulator(model), dev, settings, Divergence(), journal), options)
    rows = [
        {
            "layer": op.name,
            "part": part(op),
            "ratio": round(ratio(histograms[op.name][0]), 3),
            "nats_max": float(f"{nats[op.name]['max']:.4g}"),
            "nats_frame": float(f"{nats[op.name]['frame']:.4g}"),
        }
        for op in model.ops()
    ]
    return {"recordings": count, "layers": rows}


def main() -> None:
    """Measure the models given."""
    parser = arguments_of(__doc__)
    parser.add_argument("models", nargs="+", help="folders or hub ids of encoder-decoder models")
    add_data(parser)
    parser.add_argument("--count", type=int, default=16, help="recordings to observe, and to estimate on; default: 16")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    for name in arguments.models:
        model = load(name)
        if isinstance(model.frontend.family, Windowed):
            model = model.asked(window="audio")
        found[Path(name).name] = layers_of(model, sources(arguments), arguments.count)
        print(f"{name}: done", file=sys.stderr)
        kept = save("outliers", {"data": [Path(d).name for d in sources(arguments)], "models": found})
    (ROOT / "docs" / "results" / "outliers.svg").write_text(outliers.drawing(kept))
    print(outliers.table(kept))


if __name__ == "__main__":
    main()
