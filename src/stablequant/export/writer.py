"""A graph and a quantisation scheme as an ONNX model with QuantizeLinear / DequantizeLinear pairs.

Activations are uint8 with zero point 128 + z: the very grid of signed int8 with zero point z, in the form that x86
kernels run fast and every CPU runtime runs right; TensorRT alone wants them signed (export/targets.py). Weights are
int8, one scale an output channel or one a tensor. A quantiser stands only where an int8 kernel consumes it; outputs
stay float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from stablequant.export.data_file import SMALL, DataFile
from stablequant.export.targets import Target
from stablequant.grid.affine import QuantParams
from stablequant.grid.frame import ActivationSpec, PerFrame
from stablequant.grid.weights import QuantizedWeight
from stablequant.network.graph import Graph, Node
from stablequant.quantize.scheme import LayerScheme, Scheme
from stablequant.quantize.weights import WeightStore

OPSET = 21
#: The domain of ONNX Runtime's own operators.
MICROSOFT = "com.microsoft"
#: How often each step may be copied where a convolution is written in windows.
MOST_COPIES = 4
_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


class Writer:
    """Collects the nodes and initialisers of one ONNX graph; emitters (export/emitters/__init__.py) write through it."""

    def __init__(
        self, graph: Graph, scheme: Scheme, target: Target, weights: WeightStore, data: DataFile | None = None
    ) -> None:
        """Start an empty ONNX graph for ``graph`` under ``scheme``, with integer ``weights``; large tensors go to ``data``."""
        self.graph = graph
        self.target = target
        self._scheme = scheme
        self._weights = weights
        self._data = data
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._cache: dict[Any, str] = {}

    # -- writing -----------------------------------------------------------------------------------------------------

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Append an ONNX node with one output and return the output's name."""
        out = out or f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [out], name=out, **attributes))
        return out

    def ops(self, kind: str, inputs: Sequence[str], outs: Sequence[str], **attributes: Any) -> None:
        """Append an ONNX node with several outputs."""
        self._nodes.append(
            helper.make_node(kind, list(inputs), list(outs), name=f"{kind}_{len(self._nodes)}", **attributes)
        )

    def constant(self, array: NDArray[Any] | float | int | list[int], dtype: Any = None, name: str = "") -> str:
        """An initialiser; equal small ones are shared."""
        value = np.ascontiguousarray(array, dtype=dtype or (np.int64 if not isinstance(array, float) else np.float32))
        value = value.reshape(np.shape(array))
        key = name or f"constant_{value.dtype}_{value.shape}_{value.tobytes().hex()}"
        if key not in self._cache:
            own = self._cache[key] = name or f"constant_{len(self._initializers)}"
            outside = self._data is not None and value.nbytes >= SMALL
            self._initializers[own] = self._data.add(value, own) if outside else numpy_helper.from_array(value, own)  # type: ignore[union-attr]
        return self._cache[key]

    def nibbles(self, packed: NDArray[np.uint8], shape: tuple[int, ...], name: str) -> str:
        """An initialiser of codes of 4 bits, two in a byte, the first in its lower half: ``shape`` of them."""
        if name not in self._initializers:
            self._initializers[name] = helper.make_tensor(name, TensorProto.UINT4, shape, packed.tobytes(), raw=True)
        return name

    def once(self, key: tuple[Any, ...], write: Callable[[], str]) -> str:
        """The value that ``write`` appends, appended the first time alone."""
        if key not in self._cache:
            self._cache[key] = write()
        return self._cache[key]

    def is_scalar(self, name: str) -> bool:
        """Whether an initialiser has no axes."""
        return not self._initializers[name].dims

    # -- weights and activations --------------------------------------------------------------------------------------

    def float_weight(self, node: Node, role: str) -> NDArray[np.float32]:
        """A weight as it is in the checkpoint, a quantised layer's bias with its correction."""
        result: NDArray[np.float32] = self.graph.weights[node.weights[role]].numpy()
        layer = self.layer(node) if role == "bias" else None
        correction = self.quantised_weight(node).correction if layer and layer.weight else None
        return result if correction is None else result + correction.numpy()

    def parameter(self, node: Node, role: str) -> str:
        """A float weight as an initialiser."""
        return self.constant(self.float_weight(node, role), np.float32, node.weights[role])

    def layer(self, node: Node) -> LayerScheme | None:
        """How a node's layer is quantised; ``None`` if it stays in float."""
        return self._scheme.get(node.layer)

    def grids(self, node: Node) -> tuple[ActivationSpec, ...] | None:
        """How a node's own activations are rounded; ``None`` if they stay in float."""
        layer = self._scheme.get(node.name)
        return None if layer is None else layer.activations

    def rounded_next(self, value: str) -> bool:
        """Whether a node that reads ``value`` rounds it."""
        return any(value in node.inputs and self.grids(node) is not None for node in self.graph.nodes)

    def products(self, node: Node) -> int:
        """How many products of a quantised layer's weight are written: one a plane, or one of the planes' sum."""
        layer = self.layer(node)
        return 1 if layer is None or self._computed_in_float(node) else layer.activations[0].planes

    def in_windows(self, node: Node) -> bool:
        """Whether a convolution is written as a linear layer over the windows that its kernel sees."""
        grids, a = self.grids(node), node.attrs
        if node.kind == "conv1d" and grids and isinstance(grids[0], PerFrame):
            return True
        if node.kind != "conv1d" or (0 if grids is None else grids[0].planes) not in self.target.windows:
            return False
        if a["padding"] and not self.target.pads_codes:
            return False
        return bool(a["groups"] == 1 and a["kernel"] <= MOST_COPIES * a["stride"])

    def _computed_in_float(self, node: Node) -> bool:
        convolution = node.kind in ("conv1d", "conv2d")
        return convolution and self.target.float_convolutions and not self.in_windows(node)

    def int8_weight(self, node: Node, *, transposed: bool) -> tuple[str, str, str, int]:
        """An 8-bit weight, its scales and zero points as initialisers, and the axis of its output channels.

        Stored transposed, ``[in, out]``, a linear layer's weight needs no work at run time; that of a convolution in windows is
        ``[kernel * in, out]``. Zero points are written out
        although they are all alike: where ONNX Runtime moves int8 weights to uint8 (see runtime/onnxruntime.py) it would
        put one zero point beside many scales, and refuse its own graph. It also cannot do so for two readers of one weight, so
        a layer of two products has its weights as uint8 from the start: the same grid, moved by 128, stored once. OpenVINO has
        int8 kernels for int8 weights alone.
        """
        key, held = node.weights["weight"], self.quantised_weight(node)
        q, scale = held.codes.numpy(), held.scales.numpy().reshape(-1)
        if transposed:
            q = _turned(q)
        moved = self.moved(node)
        kind = np.uint8 if moved else np.int8
        shape = scale.shape if len(scale) > 1 else ()
        return (
            self.constant((q.astype(np.int16) + moved).astype(kind), kind, f"{key}.{np.dtype(kind).name}"),
            self.constant(scale.reshape(shape), np.float32, f"{key}.scale"),
            self.constant(np.full(shape, moved), kind, f"{key}.zero_point"),
            int(transposed),
        )

    def moved(self, node: Node) -> int:
        """The zero point of a node's 8-bit weight."""
        return 128 if self.products(node) == 2 and self.target.move_shared_weights else 0

    def quantised_weight(self, node: Node) -> QuantizedWeight:
        """The weight of a quantised node as integers."""
        layer = self.layer(node)
        assert layer is not None and layer.weight is not None
        return self._weights.codes(node.layer, layer.weight)

    def weight(self, node: Node, *, transposed: bool) -> str:
        """The weight of a quantisable node: dequantised from 8 bits where the scheme says so."""
        key = node.weights["weight"]
        if self.layer(node) is None:
            array = self.float_weight(node, "weight")
            return self.constant(_turned(array) if transposed else array, np.float32, key + ".T" if transposed else key)

        def write() -> str:
            *operands, axis = self.int8_weight(node, transposed=transposed)
            if not self._computed_in_float(node):
                return self.op("DequantizeLinear", *operands, out=f"{key}.dequantised", axis=axis)
            # ONNX Runtime computes this once, on loading, but DequantizeLinear of a constant in every run.
            values, scale, _ = operands
            lined_up = self._beside(scale, node)
            return self.op("Mul", self.op("Cast", values, to=TensorProto.FLOAT), lined_up, out=f"{key}.dequantised")

        return self.once(("weight", key, transposed), write)

    def _beside(self, scale: str, node: Node) -> str:
        """Scales of output channels, with the axes of a convolution's weight."""
        axes = list(range(1, self.float_weight(node, "weight").ndim))
        return scale if self.is_scalar(scale) else self.op("Unsqueeze", scale, self.constant(axes))

    def activation(self, value: str, params: QuantParams) -> str:
        """``value`` through a quantise / dequantise pair; readers of one value on one grid share it."""
        return self.once(("activation", value, params), lambda: self.dequantised(self.codes(value, params), params))

    def codes(self, value: str, params: QuantParams) -> str:
        """``value`` as codes of 8 bits on a grid; readers share them."""

        def write() -> str:
            return self.op("QuantizeLinear", value, self.constant(float(params.scale)), self.zero_point(params))

        return self.once(("codes", value, params), write)

    def dequantised(self, codes: str, params: QuantParams) -> str:
        """What ``codes`` of a grid stand for."""
        return self.op("DequantizeLinear", codes, self.constant(float(params.scale)), self.zero_point(params))

    def zero_point(self, params: QuantParams) -> str:
        """The code that stands for zero."""
        if self.target.signed:
            return self.constant(np.array(params.zero_point), np.int8)
        return self.constant(np.array(params.zero_point + 128), np.uint8)

    def remainder(self, value: str, params: QuantParams) -> str:
        """What the first plane leaves of ``value``."""
        return self.once(("remainder", value, params), lambda: self.op("Sub", value, self.activation(value, params)))

    # -- result ------------------------------------------------------------------------------------------------------

    def _give_out(self) -> None:
        """Let values carry the names that the graph gives them out under: an Identity for it is a copy at run time."""
        made = {out for node in self._nodes for out in node.output}
        names: dict[str, str] = {}
        for node in self._nodes:
            if node.op_type == "Identity" and node.input[0] in made:
                names.setdefault(node.input[0], node.output[0])
        self._nodes = [n for n in self._nodes if n.op_type != "Identity" or names.get(n.input[0]) != n.output[0]]
        for node in self._nodes:
            node.input[:] = [names.get(value, value) for value in node.input]
            node.output[:] = [names.get(value, value) for value in node.output]

    def model(self) -> onnx.ModelProto:
        """The finished model."""
        from stablequant import __version__

        self._give_out()
        shape = self.graph.shape
        inputs = [helper.make_tensor_value_info(i.name, _TYPES[i.dtype], shape(i)) for i in self.graph.inputs]
        outputs = [
            helper.make_tensor_value_info(o.name, _TYPES[o.dtype], shape(o)) for o in self.graph.outputs.values()
        ]
        graph = helper.make_graph(
            self._nodes, self.graph.name, inputs, outputs, initializer=list(self._initializers.values())
        )
        own = [helper.make_opsetid(MICROSOFT, 1)] if any(node.domain == MICROSOFT for node in self._nodes) else []
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), *own],
            ir_version=10,
            producer_name="stablequant",
            producer_version=__version__,
        )


def _turned(weight: NDArray[Any]) -> NDArray[Any]:
    """``[out, in]`` as ``[in, out]``; ``[out, in, kernel]`` as ``[kernel * in, out]``."""
    return weight.transpose(*range(weight.ndim)[::-1]).reshape(-1, len(weight))
