"""Codes that were made for calibration speech, a file a layer: what takes longest of a run is not done twice.

A run that was stopped reads them and goes on, and one of a large model lets go of them while others are measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stablequant.files import digest, disk_errors, replacing
from stablequant.grid.weights import QuantizedWeight, WeightSpec


class KeptCodes:
    """A folder of them."""

    def __init__(self, folder: Path, made_from: str) -> None:
        """Nothing is read yet; ``made_from``: what they depend on beside layer and spec."""
        self._folder, self._made_from = folder, made_from

    def read(self, layer: str, spec: WeightSpec) -> QuantizedWeight | None:
        """What was written of a layer; ``None`` if nothing was, or it is damaged."""
        try:
            with safe_open(self._path(layer, spec), "pt") as file:
                return held_of(file.get_tensor, spec)
        except (OSError, SafetensorError, KeyError):
            return None

    def write(self, layer: str, spec: WeightSpec, held: QuantizedWeight) -> None:
        """Keep the codes of a layer, under the spec that they will be asked for by.

        Raises:
            ResourceError: They cannot be written.
        """
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._path(layer, spec)) as part:
            part.write_bytes(save(tensors_of(held)))

    def _path(self, layer: str, spec: WeightSpec) -> Path:
        return self._folder / f"{digest([layer, repr(asdict(spec)), self._made_from])}.safetensors"


def tensors_of(held: QuantizedWeight) -> dict[str, Tensor]:
    """A weight's tensors by name."""
    parts = {"codes": held.codes, "scales": held.scales, "correction": held.correction}
    return {part: value.contiguous() for part, value in parts.items() if value is not None}


def held_of(get: Callable[[str], Tensor], spec: WeightSpec) -> QuantizedWeight:
    """The weight of `tensors_of`; ``get`` gives a tensor by its name."""
    return QuantizedWeight(get("codes"), get("scales"), spec, get("correction") if spec.correct_bias else None)
