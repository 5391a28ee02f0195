"""Small Whisper models with random weights and a tokenizer of bytes: one of English alone, one of many languages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel

LANGUAGES = ("en", "de", "fr", "haw")
#: Seconds that a model hears, instead of thirty.
SECONDS = 3

ENGLISH: dict[str, Any] = {
    "d_model": 48,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 72,
    "num_mel_bins": 80,
    "max_source_positions": 50 * SECONDS,
    "max_target_positions": 40,
}
#: As large-v3: 128 mel bins, and a decoder of another depth than the encoder.
MULTILINGUAL = ENGLISH | {"d_model": 64, "num_mel_bins": 128, "decoder_layers": 1, "decoder_attention_heads": 2}


def save(folder: Path, *, multilingual: bool) -> Any:
    """Write a checkpoint into ``folder``; returns transformers' model of it."""
    form = MULTILINGUAL if multilingual else ENGLISH
    tokenizer = transformers.WhisperTokenizer(
        vocab={c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}, merges=[]
    )
    names = ["startoftranscript", *LANGUAGES, "translate", "transcribe", "startofprev", "nospeech", "notimestamps"]
    tokenizer.add_tokens([f"<|{name}|>" for name in names], special_tokens=True)
    known = tokenizer.get_vocab()
    end, start = known["<|endoftext|>"], known["<|startoftranscript|>"]
    special = {"eos_token_id": end, "bos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    torch.manual_seed(3)
    size = len(tokenizer) + 11  # timestamps have outputs and no token here
    config = transformers.WhisperConfig(**form, **special, vocab_size=size, init_std=0.3)
    model = transformers.WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
    generation = model.generation_config
    more = {"is_multilingual": multilingual, "no_timestamps_token_id": known["<|notimestamps|>"], "max_length": 40}
    # What stands for timestamps would make transformers go on with what it takes for another segment.
    more |= {
        "suppress_tokens": [*range(0, 256, 3), *range(start, size)],
        "begin_suppress_tokens": [*range(0, 256, 5), end],
    }
    if multilingual:
        more["lang_to_id"] = {f"<|{code}|>": known[f"<|{code}|>"] for code in LANGUAGES}
        more["task_to_id"] = {name: known[f"<|{name}|>"] for name in ("translate", "transcribe")}
    for name, value in (special | more).items():
        setattr(generation, name, value)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    extractor = transformers.WhisperFeatureExtractor(feature_size=form["num_mel_bins"], chunk_length=SECONDS)
    extractor.save_pretrained(folder)
    return model
