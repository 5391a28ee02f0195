"""Every class of models: our graph beside transformers' module in float, and its int8 files beside the simulation.

    python bench/models.py
    python bench/models.py --real FOLDER                 # and a checkpoint that is not in the repository

Classes without a real checkpoint in the repository are two layers with random weights, in the widths of published models. Each is
quantised with a scale a frame (the recipe "fast"), written for ONNX Runtime and OpenVINO, and run through the gate of an export
on real speech. Writes bench/results/models.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from result_path import ROOT, save
from tables import models as table

from stablequant.data import manifest
from stablequant.data.audio import read
from stablequant.export import parity
from stablequant.export.targets import TARGETS
from stablequant.export.translate import to_onnx
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.heads.head import Answer
from stablequant.heads.seq2seq import Seq2SeqHead
from stablequant.observe.collect import observe
from stablequant.quantize.by_frame import by_frame
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.openvino import OpenVinoBackend
from stablequant.settings import Settings

sys.path.insert(0, str(ROOT / "tests" / "families"))
import kin  # noqa: E402 - what makes the checkpoints of the tests

Waveform = NDArray[np.float32]
REAL = {"moonshine-tiny": "examples/moonshine-tiny", "wavlm-graft": inputs.GRAFT}
_TWO = {"vocab_size": 13, "num_hidden_layers": 2}
_LARGE = _TWO | {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096, "conv_bias": True}
_LARGE |= {"feat_extract_norm": "layer"}
_STABLE = {"do_stable_layer_norm": True}
#: Two layers of published models, in their widths.
RANDOM = {
    "wav2vec2-base": kin.Form("Wav2Vec2ForCTC", _TWO),
    "wav2vec2-large": kin.Form("Wav2Vec2ForCTC", _LARGE | _STABLE),
    "mms-1b": kin.Form(
        "Wav2Vec2ForCTC", _LARGE | _STABLE | {"hidden_size": 1280, "intermediate_size": 5120, "adapter_attn_dim": 16}
    ),
    "hubert-large": kin.Form("HubertForCTC", _LARGE | _STABLE),
    "unispeech-large": kin.Form("UniSpeechForCTC", _LARGE | _STABLE),
    "unispeech-sat-base": kin.Form("UniSpeechSatForCTC", _TWO),
    "data2vec-audio-base": kin.Form("Data2VecAudioForCTC", _TWO),
    "sew-tiny": kin.Form("SEWForCTC", _TWO | {"hidden_size": 512, "num_attention_heads": 8, "intermediate_size": 2048}),
    "wav2vec2-conformer-rel-pos-large": kin.Form("Wav2Vec2ConformerForCTC", _LARGE | {"hidden_act": "swish"}),
    "wav2vec2-conformer-rope-large": kin.Form(
        "Wav2Vec2ConformerForCTC", _LARGE | {"hidden_act": "swish", "position_embeddings_type": "rotary"}
    ),
    "w2v-bert-2.0": kin.Form("Wav2Vec2BertForCTC", _TWO | {"add_adapter": True}),
    "parakeet-ctc-1.1b": kin.Form(
        "ParakeetForCTC", {"vocab_size": 13, "pad_token_id": 12, "encoder_config": {"num_hidden_layers": 2}}
    ),
    "medasr": kin.Form("LasrForCTC", {"vocab_size": 13, "encoder_config": {"num_hidden_layers": 2}}),
}
#: Samples of real speech that models with random weights are given.
PIECE = 24_000


def checkpoints(work: Path, more: Sequence[str]) -> Iterator[tuple[str, str, Path]]:
    """Name, "real" or "random", and folder of every model."""
    for name, folder in {**REAL, **{Path(folder).name: folder for folder in more}}.items():
        yield name, "real", ROOT / folder
    for name, form in RANDOM.items():
        kin.checkpoint(work / name, form)
        yield name, "random", work / name


def theirs(model: SpeechModel, sounds: Sequence[Waveform], answers: Sequence[Answer]) -> list[Waveform]:
    """Logits of transformers' module, each recording alone."""
    kind = getattr(transformers, model.frontend.config["architectures"][0])
    module = kind.from_pretrained(model.path, dtype=torch.float32).eval()
    found = []
    for sound, answer in zip(sounds, answers, strict=True):
        feeds = model.frontend.features([sound]).feeds
        x = torch.from_numpy(next(value for name, value in feeds.items() if name != "input_lengths"))
        if model.family == "whisper":  # its own module has time last
            x = x.transpose(1, 2)
        more: dict[str, Any] = {}
        if module.config.is_encoder_decoder:
            more = {"decoder_input_ids": torch.tensor([[*prompt(model), *answer.tokens]])}
        elif x.dim() == 3:
            more = {"attention_mask": torch.ones(x.shape[:2], dtype=torch.bool)}
        with torch.inference_mode():
            # What the prompt's own tokens are followed by is known, and no head tells it.
            found.append(module(x, **more).logits[0, max(0, len(prompt(model)) - 1) :].numpy())
    return found


def prompt(model: SpeechModel) -> tuple[int, ...]:
    """The tokens that a decoder is given first; none without one."""
    head = model.frontend.head
    return head.decoder.prompt if isinstance(head, Seq2SeqHead) else ()


def measured(model: SpeechModel, sounds: Sequence[Waveform]) -> dict[str, Any]:
    """Layers, differences from transformers and from the simulation."""
    simulator = Simulator(model)
    plain = simulator.backend({})
    answers = model.frontend.recognize(plain, sounds)
    ours = [parity.logits(model.frontend, plain, [s], [a])[0] for s, a in zip(sounds, answers, strict=True)]
    pairs = list(zip(ours, theirs(model, sounds, answers), strict=True))
    span = max(float(np.ptp(b)) for _, b in pairs)
    scheme = by_frame(model, observe(model, [sounds]), Settings.parse({"scales": "frame"}))
    targets = {}
    for name, runtime in (("onnxruntime", OnnxRuntimeBackend), ("openvino", OpenVinoBackend)):
        weights = WeightStore(model.layer_weights())
        files = {g.name: to_onnx(g, scheme, weights, TARGETS[name]).SerializeToString() for g in model.graphs}
        written = OnnxRuntimeBackend(files, threads=1, optimise=False)
        found = parity.compare(
            model.frontend, simulator.backend(scheme), written, (name, runtime(files, threads=1)), sounds
        )
        targets[name] = {
            "difference": max(p.difference for p in found),
            "limit": min(p.limit for p in found),
            "passed": all(p.passed for p in found),
        }
    return {
        "family": model.family,
        "class": model.frontend.config["architectures"][0],
        "parameters": model.float_bytes // 4,
        "ops": len(model.ops()),
        "ops_int8": sum(op.name in scheme for op in model.ops()),
        "parity_float": max(float(np.abs(a - b).max()) for a, b in pairs) / span,
        "parity_file": max(t["difference"] for t in targets.values()),
        "targets": targets,
    }


def main() -> None:
    """Measure, write, and show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", action="append", default=[], help="folder of another checkpoint; may be repeated")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recordings = manifest.load([str(ROOT / "examples" / "asterisk")])[:2]
    models = {}
    with TemporaryDirectory(prefix="stablequant-") as work:
        for name, weights, folder in checkpoints(Path(work), arguments.real):
            model = load(folder)
            whole = [read(recording, model.frontend.sampling_rate) for recording in recordings]
            sounds = whole if weights == "real" else [sound[:PIECE] for sound in whole]
            models[name] = {"weights": weights, **measured(model, sounds)}
            print(name, models[name], file=sys.stderr)
    print(table.table(save("models", {"recordings": [r.id for r in recordings], "models": models})))


if __name__ == "__main__":
    main()
