"""Parameters of the models with conformer layers, by name and shape, as transformers' modules have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stablequant.families import lasr
from stablequant.families.conformer import Names
from stablequant.families.parakeet import NAMES, SUBSAMPLING, stages
from stablequant.families.shape_parts import Shapes, batch_norm, convolution, linear, norm


def conformer_shapes(
    layer: str,
    names: Names,
    *,
    width: int,
    inner: int,
    kernel: int,
    bias: bool = True,
    convolution_bias: bool = False,
    batch: bool = True,
    norm_bias: bool = True,
) -> Shapes:
    """Of a conformer layer without its positions; ``batch`` for a batch norm behind the convolution in depth."""
    shapes: Shapes = norm(f"{layer}.{names.last}", width, bias=norm_bias)
    for before, name in names.feed_forward:
        up, down = names.dense
        shapes |= norm(f"{layer}.{before}", width, bias=norm_bias)
        shapes |= linear(f"{layer}.{name}.{up}", width, inner, bias=bias)
        shapes |= linear(f"{layer}.{name}.{down}", inner, width, bias=bias)
    before, name = names.attention
    shapes |= norm(f"{layer}.{before}", width, bias=norm_bias)
    for projection in names.projections:
        shapes |= linear(f"{layer}.{name}.{projection}", width, width, bias=bias)
    before, name = names.convolution
    conv, own = f"{layer}.{name}", convolution_bias
    shapes |= norm(f"{layer}.{before}", width, bias=norm_bias)
    shapes |= convolution(f"{conv}.pointwise_conv1", width, 2 * width, 1, bias=own)
    shapes |= convolution(f"{conv}.depthwise_conv", 1, width, kernel, bias=own)
    shapes |= convolution(f"{conv}.pointwise_conv2", width, width, 1, bias=own)
    return shapes | (batch_norm if batch else norm)(f"{conv}.{names.depth_norm}", width)


def relative_shapes(attention: str, names: Names, width: int, heads: int) -> Shapes:
    """Of the relative positions of an attention."""
    projection, content, place = (f"{attention}.{part}" for part in names.positions)
    biases: Shapes = dict.fromkeys((content, place), (heads, width // heads))
    return linear(projection, width, width, bias=False) | biases


def wav2vec2_layers(base: str, names: Names, config: Mapping[str, Any], *, batch: bool) -> Shapes:
    """Of the layers of wav2vec2-conformer and wav2vec2-bert."""
    width, heads, places = config["hidden_size"], config["num_attention_heads"], config["position_embeddings_type"]
    inner, kernel = config["intermediate_size"], config["conv_depthwise_kernel_size"]
    shapes: Shapes = {}
    for i in range(config["num_hidden_layers"]):
        layer = f"{base}.encoder.layers.{i}"
        attention = f"{layer}.{names.attention[1]}"
        shapes |= conformer_shapes(layer, names, width=width, inner=inner, kernel=kernel, batch=batch)
        if places == "relative":
            shapes |= relative_shapes(attention, names, width, heads)
        elif places == "relative_key":
            rows = 1 + config["left_max_position_embeddings"] + config["right_max_position_embeddings"]
            shapes[f"{attention}.distance_embedding.weight"] = (rows, width // heads)
    return shapes


def parakeet_shapes(config: Mapping[str, Any]) -> Shapes:
    """Of ``ParakeetForCTC``; ``config`` as `config_file.checked` returns it."""
    width, heads, inner = config["hidden_size"], config["num_attention_heads"], config["intermediate_size"]
    channels, kernel = config["subsampling_conv_channels"], config["subsampling_conv_kernel_size"]
    count = stages(config)
    shapes = convolution(f"{SUBSAMPLING}.layers.0", 1, channels, kernel, kernel)
    for stage in range(1, count):
        shapes |= convolution(f"{SUBSAMPLING}.layers.{3 * stage - 1}", 1, channels, kernel, kernel)
        shapes |= convolution(f"{SUBSAMPLING}.layers.{3 * stage}", channels, channels, 1, 1)
    bands = config["num_mel_bins"] // config["subsampling_conv_stride"] ** count
    shapes |= linear(f"{SUBSAMPLING}.linear", channels * bands, width)
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layers.{i}"
        shapes |= conformer_shapes(
            layer,
            NAMES,
            width=width,
            inner=inner,
            kernel=config["conv_kernel_size"],
            bias=config["attention_bias"],
            convolution_bias=config["convolution_bias"],
        )
        shapes |= relative_shapes(f"{layer}.{NAMES.attention[1]}", NAMES, width, heads)
    return shapes | convolution("ctc_head", width, config["vocab_size"], 1)


def lasr_shapes(config: Mapping[str, Any]) -> Shapes:
    """Of ``LasrForCTC``; ``config`` as `config_file.checked` returns it."""
    width, base, kernel = config["hidden_size"], lasr.SUBSAMPLER, config["subsampling_conv_kernel_size"]
    channels = config["subsampling_conv_channels"]
    shapes = linear(f"{base}.dense_0", config["num_mel_bins"], width) | linear(f"{base}.dense_1", channels, width)
    for name, outputs in zip(lasr.CONVOLUTIONS, (width, channels), strict=True):
        shapes |= convolution(f"{base}.{name}", width, outputs, kernel)
    for i in range(config["num_hidden_layers"]):
        shapes |= conformer_shapes(
            f"encoder.layers.{i}",
            NAMES,
            width=width,
            inner=config["intermediate_size"],
            kernel=config["conv_kernel_size"],
            bias=config["attention_bias"],
            convolution_bias=config["convolution_bias"],
            norm_bias=False,
        )
    return (
        shapes | norm("encoder.out_norm", width, bias=False) | convolution("ctc_head", width, config["vocab_size"], 1)
    )


def wav2vec2_bert_shapes(config: Mapping[str, Any]) -> Shapes:
    """Of ``Wav2Vec2BertForCTC``; ``config`` as `config_file.checked` returns it."""
    base, width, features = "wav2vec2_bert", config["hidden_size"], config["feature_projection_input_dim"]
    shapes = norm(f"{base}.feature_projection.layer_norm", features)
    shapes |= linear(f"{base}.feature_projection.projection", features, width)
    shapes |= wav2vec2_layers(base, Names(depth_norm="depthwise_layer_norm"), config, batch=False)
    if config["use_intermediate_ffn_before_adapter"]:
        shapes |= _feed_forward(f"{base}.intermediate_ffn", width, config["intermediate_size"])
    if config["add_adapter"]:
        shapes |= _adapter(f"{base}.adapter", config)
        width = config["output_hidden_size"] or width
    return shapes | linear("lm_head", width, config["vocab_size"])


def _adapter(name: str, config: Mapping[str, Any]) -> Shapes:
    """Of the layers on top of wav2vec2-bert."""
    width = config["output_hidden_size"] or config["hidden_size"]
    shapes: Shapes = {}
    if width != config["hidden_size"]:
        shapes |= linear(f"{name}.proj", config["hidden_size"], width) | norm(f"{name}.proj_layer_norm", width)
    for i in range(config["num_adapter_layers"]):
        layer = f"{name}.layers.{i}"
        for part in ("residual", "self_attn", "ffn"):
            shapes |= norm(f"{layer}.{part}_layer_norm", width)
        for part in ("residual", "self_attn"):
            shapes |= convolution(f"{layer}.{part}_conv", width, 2 * width, config["adapter_kernel_size"])
        for part in ("q", "k", "v", "out"):
            shapes |= linear(f"{layer}.self_attn.linear_{part}", width, width)
        shapes |= _feed_forward(f"{layer}.ffn", width, config["intermediate_size"])
    return shapes


def _feed_forward(name: str, width: int, inner: int) -> Shapes:
    return linear(f"{name}.intermediate_dense", width, inner) | linear(f"{name}.output_dense", inner, width)
