"""What each field of a family's config.json may be: its kind, its limits, and its value where the file says nothing.

The defaults are those of transformers' configuration classes. The limits are far above any real model and low enough
that no value in a file can make the program build or allocate without end.
"""

from __future__ import annotations

from collections.abc import Mapping

from stablequant.families.field_kinds import Choice, Count, Counts, Field, Flag, Number, Pair
from stablequant.network.activations import ACTIVATIONS
from stablequant.network.graph import LEARNT

#: Most channels of a layer, samples of a kernel, or steps of a stride.
MOST_CHANNELS = 65_536
MOST_LAYERS = 1_024
MOST_TOKENS = 10_000_000
#: Most bins of a spectrogram, and steps of a decoder or encoder with learned positions.
MOST_MELS = 1_024
MOST_POSITIONS = 65_536

#: Fields of an encoder alone, whatever is before it.
_ENCODER = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
)

_WAV2VEC2: Mapping[str, Field] = {
    "vocab_size": Count(MOST_TOKENS),
    "hidden_size": Count(MOST_CHANNELS, 768),
    "num_hidden_layers": Count(MOST_LAYERS, 12),
    "num_attention_heads": Count(MOST_CHANNELS, 12),
    "intermediate_size": Count(MOST_CHANNELS, 3072),
    "hidden_act": Choice((*ACTIVATIONS, *LEARNT), "gelu"),
    "layer_norm_eps": Number(1.0, 1e-5),
    "feat_extract_norm": Choice(("group", "layer"), "group"),
    "feat_extract_activation": Choice(ACTIVATIONS, "gelu"),
    "conv_dim": Counts(MOST_CHANNELS, (512,) * 7),
    "conv_stride": Counts(MOST_CHANNELS, (5, 2, 2, 2, 2, 2, 2)),
    "conv_kernel": Counts(MOST_CHANNELS, (10, 3, 3, 3, 3, 2, 2)),
    "conv_bias": Flag(False),
    "num_conv_pos_embeddings": Count(MOST_CHANNELS, 128),
    "num_conv_pos_embedding_groups": Count(MOST_CHANNELS, 16),
    "do_stable_layer_norm": Flag(False),
}

#: Convolutions on top of the encoder.
_ADAPTER: Mapping[str, Field] = {
    "add_adapter": Flag(False),
    "num_adapter_layers": Count(MOST_LAYERS, 3),
    "adapter_kernel_size": Count(MOST_CHANNELS, 3),
    "adapter_stride": Count(MOST_CHANNELS, 2),
    "output_hidden_size": Count(MOST_CHANNELS, None, optional=True),
}

#: Fields of config.json by ``model_type``; a family without a table here checks its own.
FIELDS: Mapping[str, Mapping[str, Field]] = {
    "wav2vec2": {**_WAV2VEC2, **_ADAPTER, "adapter_attn_dim": Count(MOST_CHANNELS, None, optional=True)},
    "unispeech": _WAV2VEC2,
    "unispeech-sat": _WAV2VEC2,
    "data2vec-audio": {
        **{key: field for key, field in _WAV2VEC2.items() if key not in ("feat_extract_norm", "do_stable_layer_norm")},
        **_ADAPTER,
        "conv_pos_kernel_size": Count(MOST_CHANNELS, 19),
        "num_conv_pos_embeddings": Count(MOST_LAYERS, 5),
    },
    "wav2vec2-conformer": {
        **{key: field for key, field in _WAV2VEC2.items() if key != "do_stable_layer_norm"},
        **_ADAPTER,
        "hidden_act": Choice(ACTIVATIONS, "gelu"),
        "position_embeddings_type": Choice(("relative", "rotary"), "relative", optional=True),
        "rotary_embedding_base": Count(10**9, 10_000),
        "conv_depthwise_kernel_size": Count(MOST_CHANNELS, 31),
    },
    "wav2vec2-bert": {
        **{key: field for key, field in _WAV2VEC2.items() if key in _ENCODER},
        "hidden_size": Count(MOST_CHANNELS, 1024),
        "num_hidden_layers": Count(MOST_LAYERS, 24),
        "num_attention_heads": Count(MOST_CHANNELS, 16),
        "intermediate_size": Count(MOST_CHANNELS, 4096),
        "hidden_act": Choice(ACTIVATIONS, "swish"),
        "feature_projection_input_dim": Count(MOST_CHANNELS, 160),
        "position_embeddings_type": Choice(("relative", "rotary", "relative_key"), "relative_key", optional=True),
        "rotary_embedding_base": Count(10**9, 10_000),
        "left_max_position_embeddings": Count(MOST_CHANNELS, 64),
        "right_max_position_embeddings": Count(MOST_CHANNELS, 8),
        "conv_depthwise_kernel_size": Count(MOST_CHANNELS, 31),
        **_ADAPTER,
        "num_adapter_layers": Count(MOST_LAYERS, 1),
        "adapter_act": Choice(ACTIVATIONS, "relu"),
        "use_intermediate_ffn_before_adapter": Flag(False),
    },
    "sew": {
        **{key: field for key, field in _WAV2VEC2.items() if key != "do_stable_layer_norm"},
        "conv_dim": Counts(MOST_CHANNELS, (64, *(128,) * 4, *(256,) * 4, *(512,) * 4)),
        "conv_stride": Counts(MOST_CHANNELS, (5, *(2, 1) * 6)),
        "conv_kernel": Counts(MOST_CHANNELS, (10, *(3, 1) * 4, *(2, 1) * 2)),
        "squeeze_factor": Count(MOST_CHANNELS, 2),
    },
    "hubert": {**_WAV2VEC2, "feat_proj_layer_norm": Flag(True)},
    "wavlm": {
        **_WAV2VEC2,
        **_ADAPTER,
        "num_buckets": Count(MOST_CHANNELS, 320),
        "max_bucket_distance": Count(MOST_CHANNELS, 800),
    },
    "parakeet_ctc": {"vocab_size": Count(MOST_TOKENS, 1025)},
    "lasr_ctc": {"vocab_size": Count(MOST_TOKENS, 512)},
    "moonshine": {
        "vocab_size": Count(MOST_TOKENS),
        "hidden_size": Count(MOST_CHANNELS, 288),
        "intermediate_size": Count(MOST_CHANNELS, 1152),
        "encoder_num_hidden_layers": Count(MOST_LAYERS, 6),
        "decoder_num_hidden_layers": Count(MOST_LAYERS, 6),
        "encoder_num_attention_heads": Count(MOST_CHANNELS, 8),
        "decoder_num_attention_heads": Count(MOST_CHANNELS, 8),
        "encoder_num_key_value_heads": Count(MOST_CHANNELS, None, optional=True),
        "decoder_num_key_value_heads": Count(MOST_CHANNELS, None, optional=True),
        "head_dim": Count(MOST_CHANNELS, None, optional=True),
        "encoder_hidden_act": Choice(ACTIVATIONS, "gelu"),
        "decoder_hidden_act": Choice(ACTIVATIONS, "silu"),
        "attention_bias": Flag(False),
        "tie_word_embeddings": Flag(True),
    },
    "whisper": {
        "vocab_size": Count(MOST_TOKENS, 51_865),
        "d_model": Count(MOST_CHANNELS, 384),
        "encoder_layers": Count(MOST_LAYERS, 4),
        "decoder_layers": Count(MOST_LAYERS, 4),
        "encoder_attention_heads": Count(MOST_CHANNELS, 6),
        "decoder_attention_heads": Count(MOST_CHANNELS, 6),
        "encoder_ffn_dim": Count(MOST_CHANNELS, 1536),
        "decoder_ffn_dim": Count(MOST_CHANNELS, 1536),
        "activation_function": Choice(ACTIVATIONS, "gelu"),
        "num_mel_bins": Count(MOST_MELS, 80),
        "max_source_positions": Count(MOST_POSITIONS, 1500),
        "max_target_positions": Count(MOST_POSITIONS, 448),
        "tie_word_embeddings": Flag(True),
    },
}

_PARAKEET_ENCODER: Mapping[str, Field] = {
    "hidden_size": Count(MOST_CHANNELS, 1024),
    "num_hidden_layers": Count(MOST_LAYERS, 24),
    "num_attention_heads": Count(MOST_CHANNELS, 8),
    "intermediate_size": Count(MOST_CHANNELS, 4096),
    "hidden_act": Choice(ACTIVATIONS, "silu"),
    "attention_bias": Flag(True),
    "convolution_bias": Flag(True),
    "conv_kernel_size": Count(MOST_CHANNELS, 9),
    "subsampling_factor": Count(1024, 8),
    "subsampling_conv_channels": Count(MOST_CHANNELS, 256),
    "num_mel_bins": Count(MOST_CHANNELS, 80),
    "subsampling_conv_kernel_size": Count(MOST_CHANNELS, 3),
    "subsampling_conv_stride": Count(MOST_CHANNELS, 2),
    "scale_input": Flag(True),
}

_LASR_ENCODER: Mapping[str, Field] = {
    "hidden_size": Count(MOST_CHANNELS, 512),
    "num_hidden_layers": Count(MOST_LAYERS, 17),
    "num_attention_heads": Count(MOST_CHANNELS, 8),
    "intermediate_size": Count(MOST_CHANNELS, 2048),
    "hidden_act": Choice(ACTIVATIONS, "silu"),
    "attention_bias": Flag(False),
    "convolution_bias": Flag(False),
    "conv_kernel_size": Count(MOST_CHANNELS, 32),
    "subsampling_conv_channels": Count(MOST_CHANNELS, 256),
    "num_mel_bins": Count(MOST_CHANNELS, 128),
    "subsampling_conv_kernel_size": Count(MOST_CHANNELS, 5),
    "subsampling_conv_stride": Count(MOST_CHANNELS, 2),
    "layer_norm_eps": Number(1.0, 1e-6),
    "feed_forward_residual_weights": Pair(1e3, (1.5, 0.5)),
    "conv_residual_weights": Pair(1e3, (2.0, 1.0)),
}

#: The same for encoders that have an object of their own, by the ``model_type`` around them.
ENCODERS: Mapping[str, Mapping[str, Field]] = {"parakeet_ctc": _PARAKEET_ENCODER, "lasr_ctc": _LASR_ENCODER}

#: The same for the rotary embedding's own table.
ROPE_FIELDS: Mapping[str, Field] = {
    "rope_type": Choice(("default",), "default"),
    "rope_theta": Number(1e12, 10_000.0),
    "partial_rotary_factor": Number(1.0, 0.9),
}
