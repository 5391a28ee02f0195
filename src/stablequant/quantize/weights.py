"""The one place where integer weights are made: simulator, exporter and int8 backends ask here, and get the same codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from stablequant.errors import ModelError
from stablequant.grid.weights import QuantizedWeight, WeightSpec, quantize_weight

if TYPE_CHECKING:
    from torch import Tensor


class WeightStore:
    """Integer weights of a model's layers, made when first asked for and kept."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """Start with no codes; ``weights`` are float32 ``[out, ...]`` by layer."""
        self._weights = weights
        self._made: dict[tuple[str, WeightSpec], QuantizedWeight] = {}

    def codes(self, layer: str, spec: WeightSpec) -> QuantizedWeight:
        """The weight of ``layer`` as ``spec`` says.

        Raises:
            ModelError: The weight is not finite; names the layer.
        """
        key = layer, spec
        if key not in self._made:
            try:
                self._made[key] = quantize_weight(self._weights[layer], spec)
            except ModelError as error:
                what = f"{layer}: {error.what}"
                raise ModelError(what, expected=error.expected, fix=error.fix) from error
        return self._made[key]
