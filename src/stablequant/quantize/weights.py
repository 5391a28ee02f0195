"""The one place where integer weights are made: simulator, exporter and int8 backends ask here, and get the same codes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stablequant.errors import ModelError, PlanError
from stablequant.files import digest
from stablequant.grid.moments import LOOKUPS, fit_weight
from stablequant.grid.weights import QuantizedWeight, WeightSpec, quantize_weight
from stablequant.memory import give_back
from stablequant.quantize.kept_codes import KeptCodes

if TYPE_CHECKING:
    from torch import Tensor

    from stablequant.families.model import SpeechModel
    from stablequant.observe.moments import StoredMoments


class WeightStore:
    """Integer weights of a model's layers, made when first asked for and kept.

    Attributes:
        made_from: What their codes depend on beside weights and specs: a hash of the calibration speech's; "" if nothing.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        moments: StoredMoments | None = None,
        biased: Collection[str] = (),
        looked_up: Collection[str] = (),
        *,
        kept: Mapping[str, QuantizedWeight] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Start with no codes but those that are ``kept``.

        Args:
            weights: Float32 ``[out, ...]`` by layer.
            moments: Of the layers' inputs on calibration speech; ``None``: nothing can be rounded for that speech.
            biased: Layers that have a bias, which can be corrected.
            looked_up: Layers whose weight an embedding reads too.
            kept: Codes by layer that were made for calibration speech before.
            folder: Where codes that are made for calibration speech are written, and read again (see `kept_codes`).
        """
        self._weights, self._moments = weights, moments
        self._biased, self._looked_up = frozenset(biased), frozenset(looked_up)
        self._kept = {(layer, held.spec): held for layer, held in (kept or {}).items()}
        self._made = dict(self._kept)
        self.made_from = "" if moments is None else digest([moments.meta, sorted(self._looked_up), LOOKUPS])
        self._files = None if folder is None else KeptCodes(folder, self.made_from)
        self._written: dict[tuple[str, WeightSpec], None] = {}

    @classmethod
    def of(cls, model: SpeechModel, moments: StoredMoments | None = None, folder: Path | None = None) -> WeightStore:
        """The store of ``model``."""
        biased = [op.name for op in model.ops() if "bias" in op.node.weights]
        looked_up = {node.shares for graph in model.graphs for node in graph.nodes if node.shares}
        return cls(model.layer_weights(), moments, biased, looked_up, folder=folder)

    def fitted(self, layer: str, spec: WeightSpec) -> WeightSpec:
        """What of ``spec`` the layer can have: without moments of its input the nearest codes, without a bias no correction.

        Raises:
            PlanError: It is made for calibration speech, and there is none.
        """
        if not spec.from_speech or (layer, spec) in self._made:
            return spec
        if self._moments is None:
            what = f"the weights of {layer} are made for calibration speech, and neither their codes nor the speech are at hand"
            fix = "run stablequant quantize, and open its folder"
            raise PlanError(what, expected="codes that a run kept, or rounding=nearest and correct_bias=false", fix=fix)
        if layer not in self._moments:
            return replace(spec, rounding="nearest", correct_bias=False)
        return replace(spec, correct_bias=spec.correct_bias and layer in self._biased)

    def codes(self, layer: str, spec: WeightSpec) -> QuantizedWeight:
        """The weight of ``layer`` as ``spec`` says, in so far as it can be (see `fitted`).

        Raises:
            ModelError: The weight is not finite; names the layer.
            PlanError: It is made for calibration speech, and there is none.
        """
        key = layer, self.fitted(layer, spec)
        if key not in self._made:
            try:
                self._made[key] = self._make(*key)
            except ModelError as error:
                what = f"{layer}: {error.what}"
                raise ModelError(what, expected=error.expected, fix=error.fix) from error
            give_back()  # what making them took lies between codes that stay, and the heap would grow by it layer by layer
        return self._made[key]

    def __getstate__(self) -> dict[str, Any]:
        """For a worker, maybe on another machine: codes and no folder."""
        for layer, spec in self._written:
            self.codes(layer, spec)
        return {**vars(self), "_files": None, "_written": {}}

    def let_go(self) -> None:
        """Let go of all codes but those that were kept; they are made, or read, again when they are next asked for."""
        self._made = dict(self._kept)

    def _make(self, layer: str, spec: WeightSpec) -> QuantizedWeight:
        if self._moments is None or not spec.from_speech:
            return quantize_weight(self._weights[layer], spec)
        if self._files is None:
            return self._fitted_codes(layer, spec, self._moments)
        self._written[layer, spec] = None
        found = self._files.read(layer, spec)
        if found is None:
            found = self._fitted_codes(layer, spec, self._moments)
            self._files.write(layer, spec, found)
        return found

    def _fitted_codes(self, layer: str, spec: WeightSpec, moments: StoredMoments) -> QuantizedWeight:
        of_input = moments[layer]
        if layer in self._looked_up:
            of_input = of_input.with_lookups()
        return fit_weight(self._weights[layer], spec, of_input)
