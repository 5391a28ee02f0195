"""From a checkpoint to an int8 model, step by step and then all at once: `python examples/quickstart.py [UTTERANCES]`."""

import sys
from pathlib import Path

import stablequant as sq

here = Path(__file__).parent
model = sq.load(here / "moonshine-tiny")
speech = sq.read_speech([str(here / "asterisk")], model).first(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
stats = sq.observe(model, speech.calibration)

# One calibrator for every layer, as other tools do.
naive = sq.scheme(model, stats, calibrator="mse", weights=sq.Weights(bits=8))
before, after = sq.evaluate(model, speech.dev), sq.evaluate(model, speech.dev, naive)
print(f"float: {before}; mse: {after}; difference {sq.compare(before, after)}")

# StableQuant's two stages, here judged by divergence from float: no labels needed.
trials = sq.Trials(model, speech.dev, objective=sq.Divergence())
layers = sq.stage1(trials, stats, gamma=0.25)
best = sq.stage2(trials, stats, layers.flagged, p_step=0.1)
print(f"sensitive: {', '.join(layers.flagged)}; clipped at p = {best.p}")
print(f"searched: {sq.compare(before, sq.evaluate(model, speech.dev, best.scheme))}")

# All of it, judged by word error rate: search, int8 files, their check against the simulation, report.
run = sq.quantize(model, speech, out="quickstart-out")
sq.export(run, target="openvino")
print(sq.open("quickstart-out").transcribe(here / "asterisk" / "audio" / "vm-nomore.flac").text)
