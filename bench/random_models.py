"""Checkpoints of usual sizes with random weights: they transcribe nothing, and cost what trained ones cost."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
from result_path import ROOT
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

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
#: As many of their 24 layers conformers have: float weights of all are over 2 GB, which one protobuf cannot hold. Parakeet's
#: first convolutions take as long as some of its layers, so it has more of them.
LAYERS = {"Parakeet-CTC-0.6B": 12, "wav2vec2-conformer": 4, "wav2vec2-bert": 4}
NETWORKS = {
    "wav2vec2-base": kin.Form("Wav2Vec2ForCTC", {"vocab_size": 13}),
    "HuBERT-large": kin.Form("HubertForCTC", LARGE),
    "Parakeet-CTC-0.6B": kin.Form(
        "ParakeetForCTC",
        {
            "vocab_size": 13,
            "pad_token_id": 12,
            "encoder_config": PARAKEET | {"num_hidden_layers": LAYERS["Parakeet-CTC-0.6B"]},
        },
    ),
    "wav2vec2-conformer": kin.Form(
        "Wav2Vec2ConformerForCTC", CONFORMER | {"num_hidden_layers": LAYERS["wav2vec2-conformer"]}
    ),
    "wav2vec2-bert": kin.Form("Wav2Vec2BertForCTC", {"vocab_size": 13, "num_hidden_layers": LAYERS["wav2vec2-bert"]}),
}
#: Of openai/whisper-small, from its configuration.
WHISPER_SMALL = {
    "d_model": 768,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_attention_heads": 12,
    "decoder_attention_heads": 12,
    "encoder_ffn_dim": 3072,
    "decoder_ffn_dim": 3072,
    "num_mel_bins": 80,
    "vocab_size": 51865,
}
#: Of openai/whisper-large-v3, from its configuration.
WHISPER_LARGE = {
    "d_model": 1280,
    "encoder_layers": 32,
    "decoder_layers": 32,
    "encoder_attention_heads": 20,
    "decoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "decoder_ffn_dim": 5120,
    "num_mel_bins": 128,
    "vocab_size": 51866,
}
#: Encoder-decoders.
WHISPERS = {"whisper-small": WHISPER_SMALL}


def whisper(folder: Path, shape: Mapping[str, Any]) -> PreTrainedModel:
    """A multilingual Whisper of that shape, its weights yet to be saved; the rest is written into ``folder``.

    Its tokenizer has bytes alone: all other outputs are suppressed.
    """
    tokenizer = WhisperTokenizer(vocab={c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}, merges=[])
    names = ["startoftranscript", "en", "de", "translate", "transcribe", "startofprev", "nospeech", "notimestamps"]
    tokenizer.add_tokens([f"<|{name}|>" for name in names], special_tokens=True)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=shape["num_mel_bins"]).save_pretrained(folder)
    known = tokenizer.get_vocab()
    end, start = known["<|endoftext|>"], known["<|startoftranscript|>"]
    special = {"eos_token_id": end, "bos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    network = WhisperForConditionalGeneration(WhisperConfig(**shape, **special))
    network.generation_config = GenerationConfig(
        **special,
        is_multilingual=True,
        no_timestamps_token_id=known["<|notimestamps|>"],
        suppress_tokens=[*range(start, shape["vocab_size"])],
        lang_to_id={f"<|{code}|>": known[f"<|{code}|>"] for code in ("en", "de")},
        task_to_id={name: known[f"<|{name}|>"] for name in ("translate", "transcribe")},
    )
    network.generation_config.save_pretrained(folder)
    return network


def checkpoint(size: str) -> Path:
    """The folder of a checkpoint of that size, written when first asked for, with a processor."""
    folder = inputs.WORK / "random" / (f"{size}-{LAYERS[size]}-layers" if size in LAYERS else size)
    if not (folder / "model.safetensors").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        if size in WHISPERS:
            whisper(folder, WHISPERS[size]).save_pretrained(folder)
        else:
            kin.checkpoint(folder, NETWORKS[size])
    return folder
