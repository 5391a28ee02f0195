"""What layers take in time under their schemes, modelled: multiplications, times what a scheme adds to each."""

from __future__ import annotations

from collections.abc import Mapping

from stablequant.data.speech import Speech
from stablequant.grid.frame import PerFrame
from stablequant.network.graph import Node
from stablequant.quantize.scheme import LayerScheme
from stablequant.quantize.simulate import Simulator
from stablequant.search.allocate import Costs
from stablequant.search.fallback import prices

#: Times a static layer's, of usual shapes in ONNX Runtime: rows are divided by their maximum before, products multiplied after.
PER_FRAME = 1.2
#: The same of a convolution, whose windows are gathered in float.
PER_WINDOW = 1.4


def modelled(simulator: Simulator, speech: Speech, options: Mapping[str, Mapping[str, LayerScheme]]) -> Costs:
    """Multiplications of each layer on the first batch of ``speech``, by scheme, as many times as the scheme takes."""
    counted = prices(simulator, speech, "multiplications")
    nodes = {op.name: op.node for op in simulator.model.ops(matmuls=True)}
    return {
        layer: {name: counted[layer] * factor(nodes[layer], scheme) for name, scheme in schemes.items()}
        for layer, schemes in options.items()
    }


def factor(node: Node, scheme: LayerScheme) -> float:
    """What a scheme takes, as a multiple of one calibrated code."""
    (first, *_) = scheme.activations
    if isinstance(first, PerFrame):
        return PER_WINDOW if node.kind == "conv1d" else PER_FRAME
    return float(first.planes)
