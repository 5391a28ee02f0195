"""How the linear layers of a decoder are best quantised: a scale a frame (QDQ), or a scale a block of inputs and weights.

    python bench/decoder_forms.py

Moonshine tiny with the encoder of the recipe `fast` and every form of decoder, as files: words of the test speech, divergence
from float, bytes, and speed against float32 in the same runtime, end to end and of single passes of the decoder. Then passes of
a decoder of 1024 channels with random weights. Times are seconds of the processor that one thread takes, in turns, so that other
work on the machine counts for little. Writes bench/results/decoder_forms.json.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from inputs import add_data, add_model, arguments_of, sources
from result_path import save
from tables.decoder_forms import table

from stablequant.export.targets import TARGETS
from stablequant.export.translate import to_onnx
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.families.moonshine import Moonshine
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import PerFrame
from stablequant.grid.weights import PerGroup, WeightSpec
from stablequant.jobs.evaluate import evaluate_on
from stablequant.jobs.speech import read_splits
from stablequant.measure.latency import interleaved
from stablequant.network.graph import Graph
from stablequant.observe.collect import observe
from stablequant.quantize.by_frame import base
from stablequant.quantize.options import by_block
from stablequant.quantize.scheme import LayerScheme, Scheme
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.registry import RUNTIMES
from stablequant.search.objective import Divergence
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import paired_bootstrap

ROUNDS, ROUNDS_WHOLE = 31, 5
#: Utterances that set the calibrated scales of the encoder: those of the convolution on the waveform.
CALIBRATION = 32
#: Name -> utterances in a batch, tokens given at once, tokens before them.
PASSES = {"1 row": (1, 1, 20), "8 rows": (8, 1, 20), "a row of 16 tokens": (1, 16, 0)}
#: Frames of the encoder that a pass looks at: of four seconds.
FRAMES = 160
#: Utterances of every length that are timed end to end, one by one and in one batch.
TIMED = 6
FLOAT = "float32"
FRAME = "a scale a frame"
#: Bits of the weights and size of blocks; 0 is the size that a plan has at 8 bits.
BLOCKS = {
    "blocks of 32": (8, 32),
    "blocks of 64": (8, 64),
    "blocks of 128": (8, 128),
    "blocks that fit": (8, 0),
    "4 bits, blocks of 32": (4, 32),
    "4 bits, blocks of 128": (4, 128),
}
WIDE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "encoder_num_hidden_layers": 1,
    "decoder_num_hidden_layers": 2,
    "encoder_num_attention_heads": 16,
    "decoder_num_attention_heads": 16,
    "encoder_num_key_value_heads": 16,
    "decoder_num_key_value_heads": 16,
    "vocab_size": 8192,
}

Files = dict[str, dict[str, bytes]]


def forms(model: SpeechModel, encoder: Scheme) -> Iterator[tuple[str, Scheme]]:
    """Every form of decoder beside one encoder, and all in float."""
    settings, decoder = Settings(), [op for op in model.ops() if op.graph == "decoder"]
    yield FLOAT, {}
    yield FRAME, {**encoder, **{op.name: LayerScheme((PerFrame(),), WeightSpec()) for op in decoder}}
    for name, (bits, size) in BLOCKS.items():
        layer = LayerScheme(
            (PerBlock(8, size or 1),), WeightSpec(bits, PerGroup(size or 1), "max" if bits == 8 else "mse")
        )
        yield name, {**encoder, **{op.name: layer if size else by_block(model, op, settings) for op in decoder}}


def files(model: SpeechModel, encoder: Scheme, runtime: str) -> Files:
    """Serialised graphs of every form."""
    store = WeightStore(model.layer_weights())
    return {
        name: {g.name: to_onnx(g, scheme, store, TARGETS[runtime]).SerializeToString() for g in model.graphs}
        for name, scheme in forms(model, encoder)
    }


def ratios(times: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Speed of each form against float32, round by round: median and quartiles."""
    found = {}
    for name, taken in times.items():
        each = [f / s for f, s in zip(times[FLOAT], taken, strict=True)]
        low, middle, high = statistics.quantiles(each, n=4)
        found[name] = [round(value, 3) for value in (middle, low, high)]
    return found


def decoder_feeds(graph: Graph, batch: int, tokens: int, past: int) -> dict[str, Any]:
    """Random inputs of one pass."""
    random = np.random.default_rng(0)
    feeds: dict[str, Any] = {
        "input_ids": random.integers(0, 1000, (batch, tokens)),
        "encoder_lengths": np.full(batch, FRAMES),
    }
    for spec in graph.inputs:
        if spec.name not in feeds:
            steps = past if "past" in spec.shape else FRAMES
            feeds[spec.name] = random.standard_normal((batch, spec.shape[1], steps, spec.shape[3]), dtype=np.float32)
    return feeds


def passes(graph: Graph, written: Files, runtime: str) -> dict[str, Any]:
    """Speed of single passes of the decoder."""
    backends = {name: RUNTIMES[runtime]({"decoder": graphs["decoder"]}, threads=1) for name, graphs in written.items()}
    found = {}
    for case, shape in PASSES.items():
        runners = {name: lambda item, b=b: b.run("decoder", item) for name, b in backends.items()}
        found[case] = ratios(interleaved(runners, [decoder_feeds(graph, *shape)], ROUNDS, time.process_time))
    return found


def whole(model: SpeechModel, written: Files, runtime: str, sounds: Sequence[Any]) -> dict[str, Any]:
    """Speed end to end, one utterance at a time and in one batch."""
    backends = {name: RUNTIMES[runtime](graphs, threads=1) for name, graphs in written.items()}
    runners = {name: lambda item, b=b: model.frontend.recognize(b, item) for name, b in backends.items()}
    cases = {"one by one": [[sound] for sound in sounds], f"a batch of {len(sounds)}": [sounds]}
    return {n: ratios(interleaved(runners, items, ROUNDS_WHOLE, time.process_time)) for n, items in cases.items()}


def words(model: SpeechModel, written: Files, speech: Any, task: Any) -> dict[str, Any]:
    """Error rate and divergence of each form's files, against those of float."""
    frontend, objective = model.frontend, Divergence()
    backends = {name: RUNTIMES["onnxruntime"](graphs, threads=1) for name, graphs in written.items()}
    scores = {name: evaluate_on(frontend, b, task, speech).score for name, b in backends.items()}
    readings: dict[str, dict[int, Any]] = {name: {} for name in backends}
    for batch in speech.batches:
        features = frontend.features(speech.waveforms_of(batch))
        outputs = {name: frontend.encode(b, features) for name, b in backends.items()}
        prepared = objective.prepare(frontend.head, backends[FLOAT], outputs[FLOAT], features.sizes)
        for name, b in backends.items():
            found = objective.measure(frontend.head, b, outputs[name], features.sizes, prepared)
            readings[name].update(zip(batch, found, strict=True))
    rows = {}
    for name, score in scores.items():
        difference = paired_bootstrap(scores[FLOAT], score)
        nats = objective.score(speech.utterances, [readings[name][i] for i in range(len(speech.utterances))]).rate
        rows[name] = {
            "wer": round(score.rate, 4),
            "delta": round(difference.delta, 4),
            "delta_interval": [round(difference.low, 4), round(difference.high, 4)],
            "divergence": round(nats, 6),
        }
    return {"words": int(scores[FLOAT].total), "utterances": len(speech.utterances), "forms": rows}


def wide() -> SpeechModel:
    """A decoder of 1024 channels with random weights; it has no processor."""
    from transformers import MoonshineConfig, MoonshineForConditionalGeneration

    config = MoonshineConfig(**WIDE)
    state = MoonshineForConditionalGeneration(config).state_dict()
    weights = {name: tensor.float() for name, tensor in state.items() if name != "proj_out.weight"}
    graphs = Moonshine().build(config.to_dict(), weights)
    return SpeechModel("moonshine", None, None, graphs[1:], "", "", 0)  # type: ignore[arg-type]


def sizes(written: Files) -> dict[str, int]:
    """Bytes of each form's decoder."""
    return {name: len(graphs["decoder"]) for name, graphs in written.items()}


def main() -> None:
    """Measure every form."""
    parser = arguments_of(__doc__)
    add_model(parser)
    add_data(parser)
    arguments = parser.parse_args()
    model, data = load(arguments.model), sources(arguments)
    settings = Settings.parse({"scales": "frame", "strategy": "none", "calibration_utterances": CALIBRATION})
    speech, task, settings = read_splits(model.frontend, data, settings)
    calibration = speech["calibration"]
    scheme = base(model, observe(model, map(calibration.waveforms_of, calibration.batches)), settings)
    encoder = {op.name: scheme[op.name] for op in model.ops() if op.graph == "encoder"}
    result: dict[str, Any] = {
        "data": data,
        "rounds": {"passes": ROUNDS, "whole": ROUNDS_WHOLE},
        "runtimes": {name: RUNTIMES[name]({}).name for name in ("onnxruntime", "openvino")},
        "models": [],
    }
    cases = ((model.path.name, model, encoder), ("random weights, 1024 channels", wide(), {}))
    result["models"] = [{"name": name, "runtimes": {}} for name, _, _ in cases]
    for runtime in result["runtimes"]:
        for row, (_, of, first) in zip(result["models"], cases, strict=True):
            written = files(of, first, runtime)
            found = row["runtimes"][runtime] = {"bytes": sizes(written)}
            found["passes"] = passes(of.graph("decoder"), written, runtime)
            if of is model:
                found["whole"] = whole(model, written, runtime, speech["test"].sample(TIMED))
                if runtime == "onnxruntime":
                    row["words"] = words(model, written, speech["test"], task)
            save("decoder_forms", result)
    print(table(save("decoder_forms", result)))


if __name__ == "__main__":
    main()
