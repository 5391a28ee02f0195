"""The int8 files of a folder in the layouts of other programs: inputs and outputs as they name and shape them.

The quantised graph stays as it is; a few nodes before and behind it turn one program's tensors into the other's.

- sherpa-onnx reads CTC models of a waveform as "omnilingual" (input ``[N, T]``, logits) and Moonshine as "moonshine v2" (an
  encoder, and a decoder for its first and later steps); tokens.txt lists tokens with their ids.
- onnx-asr reads Whisper as optimum exports it, by the same kind of decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

#: What a decoder's keys and values of one layer are called, in the order of the inputs.
PARTS = ("decoder.key", "decoder.value", "encoder.key", "encoder.value")


def of_waveform(proto: onnx.ModelProto, vocabulary: int) -> onnx.ModelProto:
    """A CTC model of ``x`` [N, T] -> ``logits`` [N, frames, V], with V told.

    The waveform may be scaled by whoever runs it; here its variance becomes 1, as the feature extractor makes it.
    """
    found = _copied(proto)
    g = found.graph
    _take_inputs(g, [_value("x", TensorProto.FLOAT, ("N", "T"))])
    before = [
        helper.make_node("Mul", ["x", "x"], ["x_squared"]),
        helper.make_node("ReduceMean", ["x_squared", "x_time"], ["x_power"], keepdims=1),
        helper.make_node("Max", ["x_power", "x_least"], ["x_some"]),
        helper.make_node("Sqrt", ["x_some"], ["x_deviation"]),
        helper.make_node("Div", ["x", "x_deviation"], ["input_values"]),
        *_lengths("x", "x", 1, "input_lengths"),
    ]
    g.initializer.extend([_constant("x_time", np.array([1])), _constant("x_least", np.array(1e-10, np.float32))])
    _put_before(g, before)
    _give_outputs(g, [_value("logits", TensorProto.FLOAT, ("N", "frames", vocabulary))])
    return found


def encoder(proto: onnx.ModelProto, source: onnx.ValueInfoProto, nodes: Sequence[onnx.NodeProto]) -> onnx.ModelProto:
    """An encoder with one input ``source``, of which ``nodes`` make its own, and one output ``last_hidden_state`` [B, frames, C].

    That output holds all that the decoder of `merged_decoder` reads: keys and values of all layers, side by side.
    """
    found = _copied(proto)
    g = found.graph
    cross = [value for value in g.output if value.name.startswith("cross_")]
    for node in g.node:  # an input of the same name has other axes: `nodes` make the graph's own of it
        own = [f"own_{name}" if name == source.name else name for name in node.input]
        del node.input[:]
        node.input.extend(own)
    _take_inputs(g, [source])
    _put_before(g, nodes)
    g.initializer.append(_constant("flat", np.array([0, 0, -1])))
    for value in cross:
        g.node.append(helper.make_node("Transpose", [value.name], [f"{value.name}_t"], perm=[0, 2, 1, 3]))
        g.node.append(helper.make_node("Reshape", [f"{value.name}_t", "flat"], [f"{value.name}_flat"]))
    flat = [f"{value.name}_flat" for value in cross]
    g.node.append(helper.make_node("Concat", flat, ["last_hidden_state"], axis=2))
    _give_outputs(g, [_value("last_hidden_state", TensorProto.FLOAT, ("batch", "frames", _width(cross)))])
    return found


def audio_source() -> tuple[onnx.ValueInfoProto, list[onnx.NodeProto]]:
    """For `encoder`: a waveform ``audio`` [B, T], all of it valid."""
    nodes = [helper.make_node("Identity", ["audio"], ["input_values"]), *_lengths("audio", "audio", 1, "input_lengths")]
    return _value("audio", TensorProto.FLOAT, ("batch", "samples")), nodes


def spectrogram_source(bins: int) -> tuple[onnx.ValueInfoProto, list[onnx.NodeProto]]:
    """For `encoder`: a spectrogram ``input_features`` [B, bins, frames], as optimum has it; ours is [B, frames, bins]."""
    nodes = [helper.make_node("Transpose", ["input_features"], ["own_input_features"], perm=[0, 2, 1])]
    return _value("input_features", TensorProto.FLOAT, ("batch", bins, "spectra")), nodes


def merged_decoder(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A decoder for first and later steps, as optimum merges them.

    Inputs: ``input_ids`` [B, tokens], ``encoder_hidden_states`` of `encoder`, for each layer four ``past_key_values``
    [B, H, past, d] (see `PARTS`), and ``use_cache_branch`` [1]: false in the first step, where the past is not looked at.
    Outputs: ``logits``, and for each layer four ``present``; those of the encoder are empty in later steps.
    """
    found = _copied(proto)
    g = found.graph
    named = {value.name: value for value in g.input}
    cross = [name for name in named if name.startswith("cross_")]
    layers, heads, size = len(cross) // 2, *(named[cross[0]].type.tensor_type.shape.dim[i].dim_value for i in (1, 3))
    past = [f"past_{kind}_{i}" for i in range(layers) for kind in ("key", "value")]
    given = {f"past_key_values.{i}.{part}": ("batch", heads, "past", size) for i in range(layers) for part in PARTS}
    _take_inputs(
        g,
        [
            named["input_ids"],
            _value("encoder_hidden_states", TensorProto.FLOAT, ("batch", "frames", 2 * layers * heads * size)),
            *(_value(name, TensorProto.FLOAT, shape) for name, shape in given.items()),
            _value("use_cache_branch", TensorProto.BOOL, (1,)),
        ],
    )
    g.initializer.extend(
        [
            _constant("in_heads", np.array([0, 0, heads, size])),
            _constant("no_past", np.array([heads, 0, size])),
            _constant("nothing", np.zeros((0, heads, 0, size), np.float32)),
        ]
    )
    present = [f"present.{i}.{part}" for i in range(layers) for part in PARTS if part.startswith("encoder")]
    results = [*cross, *past, *present]
    later = _later(layers)
    branches = {"then_branch": later, "else_branch": _first(cross, past)}
    before = [
        helper.make_node("Shape", ["input_ids"], ["rows"], end=1),
        helper.make_node("Concat", ["rows", "no_past"], ["no_past_shape"], axis=0),
        helper.make_node("If", ["use_cache_branch"], results, **branches),
    ]
    if "encoder_lengths" in named:
        before += _lengths("input_ids", cross[0], 2, "encoder_lengths")
    _put_before(g, before)
    own = [f"{kind}_{i}" for i in range(layers) for kind in ("key", "value")]
    outputs = [f"present.{i}.{part}" for i in range(layers) for part in PARTS]
    renamed = [name for name in outputs if "decoder" in name]
    g.node.extend(helper.make_node("Identity", [a], [b]) for a, b in zip(own, renamed, strict=True))
    logits = next(value for value in g.output if value.name == "logits")
    shape = ("batch", heads, "positions", size)
    _give_outputs(g, [logits, *(_value(name, TensorProto.FLOAT, shape) for name in outputs)])
    return found


def _later(layers: int) -> onnx.GraphProto:
    """Keys and values as they were given; the caller keeps those of the encoder."""
    nodes, outputs = [], []
    order = [f"{i}.encoder.{kind}" for i in range(layers) for kind in ("key", "value")]
    order += [f"{i}.decoder.{kind}" for i in range(layers) for kind in ("key", "value")]
    for name in order:
        nodes.append(helper.make_node("Identity", [f"past_key_values.{name}"], [f"later.{name}"]))
        outputs.append(f"later.{name}")
    for index in range(2 * layers):
        nodes.append(helper.make_node("Identity", ["nothing"], [f"later.nothing.{index}"]))
        outputs.append(f"later.nothing.{index}")
    return helper.make_graph(nodes, "later", [], [_value(name, TensorProto.FLOAT, None) for name in outputs])


def _first(cross: Sequence[str], past: Sequence[str]) -> onnx.GraphProto:
    """The encoder's keys and values out of its one output, and no past."""
    parts = [f"first.{name}" for name in cross]
    nodes = [helper.make_node("Split", ["encoder_hidden_states"], parts, axis=2, num_outputs=len(parts))]
    for name in parts:
        nodes.append(helper.make_node("Reshape", [name, "in_heads"], [f"{name}.heads"]))
        nodes.append(helper.make_node("Transpose", [f"{name}.heads"], [f"{name}.t"], perm=[0, 2, 1, 3]))
    empty = [f"first.{name}" for name in past]
    nodes += [helper.make_node("ConstantOfShape", ["no_past_shape"], [name]) for name in empty]
    again = [f"{name}.present" for name in parts]
    nodes += [helper.make_node("Identity", [f"{name}.t"], [other]) for name, other in zip(parts, again, strict=True)]
    outputs = [*(f"{name}.t" for name in parts), *empty, *again]
    return helper.make_graph(nodes, "first", [], [_value(name, TensorProto.FLOAT, None) for name in outputs])


def _lengths(batch: str, source: str, axis: int, result: str) -> list[onnx.NodeProto]:
    """The size of an axis of ``source``, once for each row of ``batch``."""
    return [
        helper.make_node("Shape", [source], [f"{result}_size"], start=axis, end=axis + 1),
        helper.make_node("Shape", [batch], [f"{result}_rows"], end=1),
        helper.make_node("Expand", [f"{result}_size", f"{result}_rows"], [result]),
    ]


def _copied(proto: onnx.ModelProto) -> onnx.ModelProto:
    found = onnx.ModelProto()
    found.CopyFrom(proto)
    return found


def _value(name: str, kind: int, shape: Sequence[str | int] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _constant(name: str, array: NDArray[Any]) -> onnx.TensorProto:
    return numpy_helper.from_array(array, name)


def _take_inputs(g: onnx.GraphProto, inputs: Sequence[onnx.ValueInfoProto]) -> None:
    kept = list(inputs)
    del g.input[:]
    g.input.extend(kept)


def _give_outputs(g: onnx.GraphProto, outputs: Sequence[onnx.ValueInfoProto]) -> None:
    kept = list(outputs)
    del g.output[:]
    g.output.extend(kept)


def _put_before(g: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    old = list(g.node)
    del g.node[:]
    g.node.extend([*nodes, *old])


def _width(cross: Sequence[onnx.ValueInfoProto]) -> int:
    shape = cross[0].type.tensor_type.shape.dim
    return len(cross) * int(shape[1].dim_value) * int(shape[3].dim_value)
