"""The parameters that a configuration calls for, by name and shape, as transformers' own module has them.

A checkpoint is compared with this before a graph is built: what is missing, left over or of another shape has a name then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stablequant.families.conformer import Names
from stablequant.families.conformer_shapes import lasr_shapes, parakeet_shapes, wav2vec2_bert_shapes, wav2vec2_layers
from stablequant.families.shape_parts import Shapes
from stablequant.families.shape_parts import linear as _linear
from stablequant.families.shape_parts import norm as _norm
from stablequant.network.graph import LEARNT

#: What a weight-normed convolution's magnitude and direction are called today; older files say weight_g and weight_v.
MAGNITUDE, DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"


def wav2vec2_shapes(config: Mapping[str, Any]) -> Shapes:
    """Of ``Wav2Vec2ForCTC`` and those of its plan; ``config`` as `config_file.checked` returns it."""
    kind, hidden, heads = config["model_type"].replace("-", "_"), config["hidden_size"], config["num_attention_heads"]
    shapes, channels = _convolution_shapes(f"{kind}.feature_extractor", config)
    if config.get("feat_proj_layer_norm", True):
        shapes |= _norm(f"{kind}.feature_projection.layer_norm", channels)
    shapes |= _linear(f"{kind}.feature_projection.projection", channels, hidden)
    shapes |= _position_shapes(f"{kind}.encoder.pos_conv_embed.conv", config)
    shapes |= _norm(f"{kind}.encoder.layer_norm", hidden)
    for i in range(config["num_hidden_layers"]):
        layer = f"{kind}.encoder.layers.{i}"
        shapes |= _layer_shapes(layer, config)
        if kind == "wavlm":
            shapes[f"{layer}.attention.gru_rel_pos_const"] = (1, heads, 1, 1)
            shapes |= _linear(f"{layer}.attention.gru_rel_pos_linear", hidden // heads, 8)
            if i == 0:
                shapes[f"{layer}.attention.rel_attn_embed.weight"] = (config["num_buckets"], heads)
        if config.get("adapter_attn_dim"):
            shapes |= _norm(f"{layer}.adapter_layer.norm", hidden)
            shapes |= _linear(f"{layer}.adapter_layer.linear_1", hidden, config["adapter_attn_dim"])
            shapes |= _linear(f"{layer}.adapter_layer.linear_2", config["adapter_attn_dim"], hidden)
    width = hidden
    if config.get("add_adapter"):
        width = config["output_hidden_size"] or hidden
        shapes |= _adapter_shapes(f"{kind}.adapter", config, width)
    return shapes | _linear("lm_head", width, config["vocab_size"])


def data2vec_shapes(config: Mapping[str, Any]) -> Shapes:
    """Of ``Data2VecAudioForCTC``; ``config`` as `config_file.checked` returns it."""
    base, hidden, kernel = "data2vec_audio", config["hidden_size"], config["conv_pos_kernel_size"]
    shapes, channels = _convolution_shapes(f"{base}.feature_extractor", {**config, "feat_extract_norm": "layer"})
    shapes |= _norm(f"{base}.feature_projection.layer_norm", channels)
    shapes |= _linear(f"{base}.feature_projection.projection", channels, hidden)
    for i in range(config["num_conv_pos_embeddings"]):
        conv = f"{base}.encoder.pos_conv_embed.layers.{i}.conv"
        shapes[f"{conv}.weight"] = (hidden, hidden // config["num_conv_pos_embedding_groups"], kernel)
        shapes[f"{conv}.bias"] = (hidden,)
    shapes |= _norm(f"{base}.encoder.layer_norm", hidden)
    for i in range(config["num_hidden_layers"]):
        shapes |= _layer_shapes(f"{base}.encoder.layers.{i}", config)
    width = hidden
    if config["add_adapter"]:
        width = config["output_hidden_size"] or hidden
        shapes |= _adapter_shapes(f"{base}.adapter", config, width)
    return shapes | _linear("lm_head", width, config["vocab_size"])


def sew_shapes(config: Mapping[str, Any]) -> Shapes:
    """Of ``SEWForCTC``; ``config`` as `config_file.checked` returns it."""
    hidden = config["hidden_size"]
    shapes, channels = _convolution_shapes("sew.feature_extractor", config)
    shapes |= _norm("sew.layer_norm", channels)
    if channels != hidden:
        shapes |= _linear("sew.feature_projection", channels, hidden)
    shapes |= _position_shapes("sew.encoder.pos_conv_embed.conv", config)
    shapes |= _norm("sew.encoder.layer_norm", hidden)
    for i in range(config["num_hidden_layers"]):
        shapes |= _layer_shapes(f"sew.encoder.layers.{i}", config)
    shapes |= _linear("sew.encoder.upsample.projection", hidden, hidden * config["squeeze_factor"])
    return shapes | _linear("lm_head", hidden, config["vocab_size"])


def wav2vec2_conformer_shapes(config: Mapping[str, Any]) -> Shapes:
    """Of ``Wav2Vec2ConformerForCTC``; ``config`` as `config_file.checked` returns it."""
    base, hidden = "wav2vec2_conformer", config["hidden_size"]
    shapes, channels = _convolution_shapes(f"{base}.feature_extractor", config)
    shapes |= _norm(f"{base}.feature_projection.layer_norm", channels)
    shapes |= _linear(f"{base}.feature_projection.projection", channels, hidden)
    shapes |= _position_shapes(f"{base}.encoder.pos_conv_embed.conv", config)  # held, and not used
    if config["position_embeddings_type"] == "rotary":
        shapes[f"{base}.encoder.embed_positions.inv_freq"] = (hidden // config["num_attention_heads"] // 2,)
    shapes |= wav2vec2_layers(base, Names(), config, batch=True) | _norm(f"{base}.encoder.layer_norm", hidden)
    width = hidden
    if config["add_adapter"]:
        width = config["output_hidden_size"] or hidden
        shapes |= _adapter_shapes(f"{base}.adapter", config, width)
    return shapes | _linear("lm_head", width, config["vocab_size"])


def _convolution_shapes(name: str, config: Mapping[str, Any]) -> tuple[Shapes, int]:
    """Of the convolutions on the waveform, and how many channels the last has."""
    shapes: Shapes = {}
    channels = 1
    for i, (out, kernel) in enumerate(zip(config["conv_dim"], config["conv_kernel"], strict=True)):
        layer = f"{name}.conv_layers.{i}"
        shapes[f"{layer}.conv.weight"] = (out, channels, kernel)
        if config["conv_bias"]:
            shapes[f"{layer}.conv.bias"] = (out,)
        if config["feat_extract_norm"] == "layer" or i == 0:
            shapes |= _norm(f"{layer}.layer_norm", out)
        channels = out
    return shapes, channels


def _position_shapes(conv: str, config: Mapping[str, Any]) -> Shapes:
    """Of a positional convolution with weight norm."""
    hidden, kernel = config["hidden_size"], config["num_conv_pos_embeddings"]
    return {
        f"{conv}.{MAGNITUDE}": (1, 1, kernel),
        f"{conv}.{DIRECTION}": (hidden, hidden // config["num_conv_pos_embedding_groups"], kernel),
        f"{conv}.bias": (hidden,),
    }


def _layer_shapes(layer: str, config: Mapping[str, Any]) -> Shapes:
    """Of a layer of the encoder: attention, feed-forward and their norms."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes = _norm(f"{layer}.layer_norm", hidden) | _norm(f"{layer}.final_layer_norm", hidden)
    for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
        shapes |= _linear(f"{layer}.attention.{part}", hidden, hidden)
    shapes |= _linear(f"{layer}.feed_forward.intermediate_dense", hidden, inner)
    learnt = LEARNT.get(config["hidden_act"], {})
    shapes |= {f"{layer}.feed_forward.intermediate_act_fn.{name}": shape for name, shape in learnt.items()}
    return shapes | _linear(f"{layer}.feed_forward.output_dense", inner, hidden)


def _adapter_shapes(name: str, config: Mapping[str, Any], width: int) -> Shapes:
    shapes: Shapes = {}
    if width != config["hidden_size"]:
        shapes |= _linear(f"{name}.proj", config["hidden_size"], width) | _norm(f"{name}.proj_layer_norm", width)
    for i in range(config["num_adapter_layers"]):
        shapes[f"{name}.layers.{i}.conv.weight"] = (2 * width, width, config["adapter_kernel_size"])
        shapes[f"{name}.layers.{i}.conv.bias"] = (2 * width,)
    return shapes


def moonshine_shapes(config: Mapping[str, Any]) -> Shapes:
    """Of ``MoonshineForConditionalGeneration``; ``config`` as `config_file.checked` returns it."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head_size = config["head_dim"] or hidden // config["decoder_num_attention_heads"]
    shapes: Shapes = {
        "model.encoder.conv1.weight": (hidden, 1, 127),
        "model.encoder.conv2.weight": (2 * hidden, hidden, 7),
        "model.encoder.conv2.bias": (2 * hidden,),
        "model.encoder.conv3.weight": (hidden, 2 * hidden, 3),
        "model.encoder.conv3.bias": (hidden,),
        "model.encoder.layer_norm.weight": (hidden,),
        "model.decoder.norm.weight": (hidden,),
        "model.decoder.embed_tokens.weight": (config["vocab_size"], hidden),
        "proj_out.weight": (config["vocab_size"], hidden),
        **_norm("model.encoder.groupnorm", hidden),
    }

    def attention(name: str, half: str) -> Shapes:
        width, bias = config[f"{half}_num_attention_heads"] * head_size, config["attention_bias"]
        parts = [_linear(f"{name}.{part}_proj", hidden, width, bias=bias) for part in "qkv"]
        return {**parts[0], **parts[1], **parts[2], **_linear(f"{name}.o_proj", width, hidden, bias=False)}

    for half, widening, norms in (
        ("encoder", 1, ("input_layernorm", "post_attention_layernorm")),
        ("decoder", 2, ("input_layernorm", "post_attention_layernorm", "final_layernorm")),
    ):
        for i in range(config[f"{half}_num_hidden_layers"]):
            layer = f"model.{half}.layers.{i}"
            shapes |= attention(f"{layer}.self_attn", half)
            if half == "decoder":
                shapes |= attention(f"{layer}.encoder_attn", half)
            shapes |= {f"{layer}.{norm}.weight": (hidden,) for norm in norms}
            # The decoder's first projection makes the value and its gate at once.
            shapes |= _linear(f"{layer}.mlp.fc1", hidden, widening * inner)
            shapes |= _linear(f"{layer}.mlp.fc2", inner, hidden)
    return shapes


def whisper_shapes(config: Mapping[str, Any]) -> Shapes:
    """Of ``WhisperForConditionalGeneration``; ``config`` as `config_file.checked` returns it."""
    hidden = config["d_model"]
    shapes: Shapes = {
        "model.encoder.conv1.weight": (hidden, config["num_mel_bins"], 3),
        "model.encoder.conv1.bias": (hidden,),
        "model.encoder.conv2.weight": (hidden, hidden, 3),
        "model.encoder.conv2.bias": (hidden,),
        "model.encoder.embed_positions.weight": (config["max_source_positions"], hidden),
        "model.decoder.embed_positions.weight": (config["max_target_positions"], hidden),
        "model.decoder.embed_tokens.weight": (config["vocab_size"], hidden),
        "proj_out.weight": (config["vocab_size"], hidden),
    }
    for half, attentions in (("encoder", ("self_attn",)), ("decoder", ("self_attn", "encoder_attn"))):
        shapes |= _norm(f"model.{half}.layer_norm", hidden)
        for i in range(config[f"{half}_layers"]):
            layer, inner = f"model.{half}.layers.{i}", config[f"{half}_ffn_dim"]
            for name in attentions:
                for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    shapes |= _linear(f"{layer}.{name}.{part}", hidden, hidden, bias=part != "k_proj")
                shapes |= _norm(f"{layer}.{name}_layer_norm", hidden)
            shapes |= _linear(f"{layer}.fc1", hidden, inner) | _linear(f"{layer}.fc2", inner, hidden)
            shapes |= _norm(f"{layer}.final_layer_norm", hidden)
    return shapes


@dataclass(frozen=True)
class Layout:
    """The parameters of a kind of model.

    Attributes:
        shapes: From a checked configuration to name and shape of each.
        base: Prefix of the body's parameters, which files may lack or have in excess (``base_model_prefix``).
        tied: Parameter -> the one that it is the same as, where config.json sets ``tie_word_embeddings``.
    """

    shapes: Callable[[Mapping[str, Any]], Shapes]
    base: str
    tied: Mapping[str, str] = field(default_factory=dict)


#: By ``model_type``.
LAYOUTS: Mapping[str, Layout] = {
    **{kind: Layout(wav2vec2_shapes, kind) for kind in ("wav2vec2", "hubert", "wavlm", "unispeech")},
    "unispeech-sat": Layout(wav2vec2_shapes, "unispeech_sat"),
    "data2vec-audio": Layout(data2vec_shapes, "data2vec_audio"),
    "sew": Layout(sew_shapes, "sew"),
    "wav2vec2-conformer": Layout(wav2vec2_conformer_shapes, "wav2vec2_conformer"),
    "wav2vec2-bert": Layout(wav2vec2_bert_shapes, "wav2vec2_bert"),
    "parakeet_ctc": Layout(parakeet_shapes, "model"),
    "lasr_ctc": Layout(lasr_shapes, "model"),
    "moonshine": Layout(moonshine_shapes, "model", {"proj_out.weight": "model.decoder.embed_tokens.weight"}),
    "whisper": Layout(whisper_shapes, "model", {"proj_out.weight": "model.decoder.embed_tokens.weight"}),
}
