"""Checkpoints of usual sizes with random weights: they transcribe nothing, and cost what trained ones cost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import inputs  # first: it sets what torch reads when it is imported
import torch
from result_path import ROOT
from transformers import (
    HubertConfig,
    HubertForCTC,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)

#: Of facebook/hubert-large-ls960-ft, from its configuration.
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "conv_bias": True,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "vocab_size": 32,
}
NETWORKS: dict[str, Callable[[], PreTrainedModel]] = {
    "wav2vec2-base": lambda: Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=32)),
    "HuBERT-large": lambda: HubertForCTC(HubertConfig(**LARGE)),
}


def checkpoint(size: str) -> Path:
    """The folder of a checkpoint of that size, written when first asked for, with a processor."""
    folder = inputs.WORK / "random" / size
    if not (folder / "model.safetensors").is_file():
        torch.manual_seed(0)
        NETWORKS[size]().save_pretrained(folder)
        shutil.copyfile(ROOT / inputs.GRAFT / "vocab.json", folder / "vocab.json")
        tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
        extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
        Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    return folder
