"""Small checkpoints of the CTC classes, every parameter random, complete with processor: two sizes of each class."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models
from torch import nn

TINY: dict[str, Any] = {
    "vocab_size": 13,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16, 16, 24),
    "conv_kernel": (10, 3, 2),
    "conv_stride": (5, 2, 2),
    # OpenVINO's int8 kernels compute a convolution with a wide kernel in groups of 4 to 24 channels wrongly
    # on processors with AMX; published models have larger groups.
    "num_conv_pos_embedding_groups": 8,
}
#: Wider, with other numbers of everything and other functions.
SMALL: dict[str, Any] = TINY | {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 80,
    "conv_bias": True,
    "num_conv_pos_embedding_groups": 16,
    "hidden_act": "gelu_new",
}
TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefgh")


@dataclass(frozen=True)
class Form:
    """A configuration of a class.

    Attributes:
        name: Class of transformers.
        settings: Of its configuration.
        exact_in_batches: Whether transformers itself keeps padding out, so that a padded batch can be compared with its own.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    exact_in_batches: bool = False


SEW_TINY = TINY | {"num_conv_pos_embeddings": 16, "feat_extract_norm": "layer", "squeeze_factor": 2}
SEW_SMALL = SMALL | {
    "num_conv_pos_embeddings": 15,
    "conv_dim": (16, 16, 48),
    "squeeze_factor": 3,
    "hidden_act": "xielu",
}

CONFORMER = TINY | {"conv_depthwise_kernel_size": 5, "num_conv_pos_embeddings": 16, "feat_extract_norm": "layer"}
ENCODER = {key: value for key, value in TINY.items() if not key.startswith(("conv_", "num_conv"))}
BERT = ENCODER | {"feature_projection_input_dim": 16, "conv_depthwise_kernel_size": 5}
PARAKEET: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_kernel_size": 5,
    "subsampling_factor": 4,
    "subsampling_conv_channels": 8,
    "num_mel_bins": 8,
}

LASR: dict[str, Any] = {key: value for key, value in PARAKEET.items() if key != "subsampling_factor"}

STABLE = {"num_conv_pos_embeddings": 15, "feat_extract_norm": "layer", "do_stable_layer_norm": True}

FORMS: dict[str, Form] = {
    "unispeech": Form("UniSpeechForCTC", TINY | {"num_conv_pos_embeddings": 16}),
    "unispeech-larger": Form("UniSpeechForCTC", SMALL | STABLE, exact_in_batches=True),
    "unispeech-sat": Form("UniSpeechSatForCTC", TINY | STABLE, exact_in_batches=True),
    "unispeech-sat-larger": Form("UniSpeechSatForCTC", SMALL | {"num_conv_pos_embeddings": 16}),
    "mms": Form("Wav2Vec2ForCTC", TINY | STABLE | {"adapter_attn_dim": 6}, exact_in_batches=True),
    "mms-larger": Form("Wav2Vec2ForCTC", SMALL | STABLE | {"adapter_attn_dim": 6, "add_adapter": True}),
    "data2vec": Form("Data2VecAudioForCTC", TINY | {"conv_pos_kernel_size": 5, "num_conv_pos_embeddings": 2}),
    "data2vec-larger": Form(
        "Data2VecAudioForCTC",
        SMALL
        | {"conv_pos_kernel_size": 4, "num_conv_pos_embeddings": 3, "add_adapter": True, "num_adapter_layers": 1}
        | {"hidden_act": "prelu"},
    ),
    "sew": Form("SEWForCTC", SEW_TINY),
    "sew-larger": Form("SEWForCTC", SEW_SMALL),
    "conformer-relative": Form("Wav2Vec2ConformerForCTC", CONFORMER),
    "conformer-relative-larger": Form(
        "Wav2Vec2ConformerForCTC", SMALL | {"num_hidden_layers": 2, "conv_depthwise_kernel_size": 7}
    ),
    "conformer-rotary": Form(
        "Wav2Vec2ConformerForCTC",
        SMALL
        | {"conv_depthwise_kernel_size": 7, "num_conv_pos_embeddings": 15, "position_embeddings_type": "rotary"}
        | {"add_adapter": True, "output_hidden_size": 32, "num_adapter_layers": 1},
    ),
    "conformer-rotary-larger": Form(
        "Wav2Vec2ConformerForCTC",
        CONFORMER | {"hidden_size": 64, "intermediate_size": 96, "position_embeddings_type": "rotary"},
    ),
    "bert": Form(
        "Wav2Vec2BertForCTC", BERT | {"left_max_position_embeddings": 6, "right_max_position_embeddings": 3}, True
    ),
    "bert-adapter": Form(
        "Wav2Vec2BertForCTC",
        BERT
        | {"add_adapter": True, "num_adapter_layers": 2, "use_intermediate_ffn_before_adapter": True}
        | {"output_hidden_size": 40, "adapter_act": "gelu"},
    ),
    "bert-relative": Form(
        "Wav2Vec2BertForCTC",
        BERT | {"hidden_size": 48, "num_hidden_layers": 3, "position_embeddings_type": "relative"},
        True,
    ),
    "parakeet": Form("ParakeetForCTC", {"vocab_size": 13, "pad_token_id": 12, "encoder_config": PARAKEET}, True),
    "parakeet-larger": Form(
        "ParakeetForCTC",
        {
            "vocab_size": 13,
            "pad_token_id": 12,
            "encoder_config": PARAKEET
            | {"hidden_size": 48, "num_hidden_layers": 3, "hidden_act": "relu", "num_mel_bins": 16}
            | {"subsampling_factor": 8, "attention_bias": False, "convolution_bias": False, "scale_input": False},
        },
        True,
    ),
    "lasr": Form("LasrForCTC", {"vocab_size": 13, "encoder_config": LASR | {"conv_kernel_size": 6}}, True),
    "lasr-larger": Form(
        "LasrForCTC",
        {
            "vocab_size": 13,
            "encoder_config": LASR
            | {"hidden_size": 48, "num_hidden_layers": 3, "hidden_act": "relu", "num_mel_bins": 16}
            | {"subsampling_conv_kernel_size": 3, "attention_bias": True, "convolution_bias": True}
            | {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}, "layer_norm_eps": 1e-3}
            | {"feed_forward_residual_weights": [0.7, 1.3], "conv_residual_weights": [1.6, 0.4]},
        },
        True,
    ),
    "bert-rotary": Form(
        "Wav2Vec2BertForCTC",
        BERT | {"hidden_act": "mish", "position_embeddings_type": "rotary", "layer_norm_eps": 1e-3},
        True,
    ),
}


def model_of(form: Form) -> Any:
    """transformers' model with every parameter random, and the statistics of batch norms too."""
    torch.manual_seed(0)
    kind = getattr(transformers, form.name)
    model = kind(kind.config_class(**form.settings)).eval().float()  # xIELU has its parameters in bfloat16 by itself
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.shape[0] > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
            else:  # norms, biases and weight norm's lengths: a constant would hide a mistake
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2.0)
    return model


def checkpoint(folder: Path, form: Form) -> Any:
    """``form`` as a checkpoint in ``folder``; returns transformers' model."""
    model = model_of(form)
    model.save_pretrained(folder)
    extractor: dict[str, Any] = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True}
    if form.name == "Wav2Vec2BertForCTC":
        bands = model.config.feature_projection_input_dim // 2
        extractor = {"feature_extractor_type": "SeamlessM4TFeatureExtractor"}
        extractor |= {"feature_size": bands, "num_mel_bins": bands}
    if form.name == "ParakeetForCTC":
        bands = model.config.encoder_config.num_mel_bins
        extractor = {"feature_extractor_type": "ParakeetFeatureExtractor", "feature_size": bands}
        write_parakeet_tokenizer(folder)
    if form.name == "LasrForCTC":
        bands = model.config.encoder_config.num_mel_bins
        extractor = {"feature_extractor_type": "LasrFeatureExtractor", "feature_size": bands}
        write_lasr_tokenizer(folder)
    write_processor(folder, extractor)
    return model


def write_parakeet_tokenizer(folder: Path) -> None:
    """Pieces of words with the blank last, as Parakeet has them."""
    pieces = Tokenizer(models.BPE({piece: index for index, piece in enumerate([*"abcdefghijkl", "<pad>"])}, []))
    tokenizer = transformers.ParakeetTokenizer(tokenizer_object=pieces, pad_token="<pad>")
    tokenizer.save_pretrained(folder)


def write_lasr_tokenizer(folder: Path) -> None:
    """Pieces of words behind the blank, as LASR has them."""
    special = ("<pad>", "</s>", "<unk>", "\u2581")
    pieces = [(piece, -1.0) for piece in (*special, *"abcdefghi")]
    transformers.LasrTokenizer(vocab=pieces, extra_ids=0).save_pretrained(folder)


def write_processor(folder: Path, extractor: dict[str, Any]) -> None:
    """Feature extractor and tokenizer of a model of characters."""
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    if (folder / "tokenizer.json").is_file():
        return
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(TOKENS)}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Wav2Vec2CTCTokenizer"}))
