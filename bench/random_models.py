"""Checkpoints of usual sizes with random weights: they transcribe nothing, and cost what trained ones cost."""

from __future__ import annotations

import sys
from pathlib import Path

import inputs  # first: it sets what torch reads when it is imported
from result_path import ROOT

sys.path.insert(0, str(ROOT / "tests" / "families"))
import kin  # noqa: E402 - what makes the checkpoints of the tests

#: Of facebook/hubert-large-ls960-ft, from its configuration.
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "conv_bias": True,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "vocab_size": 13,
}
#: Of facebook/wav2vec2-conformer-rel-pos-large-960h-ft, but for its 24 layers.
CONFORMER = {key: value for key, value in LARGE.items() if key != "do_stable_layer_norm"} | {"hidden_act": "swish"}
#: Of nvidia/parakeet-ctc-0.6b, but for its 24 layers.
PARAKEET = {
    "hidden_size": 1024,
    "num_attention_heads": 8,
    "intermediate_size": 4096,
    "conv_kernel_size": 9,
    "num_mel_bins": 80,
}
#: Conformers have as many of their 24 layers: float weights of all would be 2.4 GB a file.
LAYERS = 4
NETWORKS = {
    "wav2vec2-base": kin.Form("Wav2Vec2ForCTC", {"vocab_size": 13}),
    "HuBERT-large": kin.Form("HubertForCTC", LARGE),
    "Parakeet-CTC-0.6B": kin.Form(
        "ParakeetForCTC",
        {"vocab_size": 13, "pad_token_id": 12, "encoder_config": PARAKEET | {"num_hidden_layers": LAYERS}},
    ),
    "wav2vec2-conformer": kin.Form("Wav2Vec2ConformerForCTC", CONFORMER | {"num_hidden_layers": LAYERS}),
    "wav2vec2-bert": kin.Form("Wav2Vec2BertForCTC", {"vocab_size": 13, "num_hidden_layers": LAYERS}),
}
#: Those without a waveform as their input, or of which only some layers are there.
CONFORMERS = ("Parakeet-CTC-0.6B", "wav2vec2-conformer", "wav2vec2-bert")


def checkpoint(size: str) -> Path:
    """The folder of a checkpoint of that size, written when first asked for, with a processor."""
    folder = inputs.WORK / "random" / size
    if not (folder / "model.safetensors").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        kin.checkpoint(folder, NETWORKS[size])
    return folder
