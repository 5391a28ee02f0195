"""Integer weights in the folder of a run, of the layers whose codes depend on calibration speech.

Codes of other layers follow from the checkpoint and the plan. These do not, and without them neither the simulation nor a file
for another target would be the model that was tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stablequant.errors import PlanError
from stablequant.files import replacing
from stablequant.grid.weights import QuantizedWeight, WeightSpec
from stablequant.quantize.kept_codes import held_of, tensors_of
from stablequant.quantize.plan import Plan
from stablequant.quantize.weights import WeightStore

NAME = "weights.safetensors"


def kept_layers(plan: Plan) -> dict[str, WeightSpec]:
    """The layers of a plan whose codes depend on calibration speech."""
    specs = {name: layer.weight for name, layer in plan.scheme().items()}
    return {name: spec for name, spec in specs.items() if spec and spec.from_speech}


def save_weights(folder: Path, plan: Plan, store: WeightStore) -> None:
    """Write the codes of those layers into ``folder``; no file if there are none.

    Raises:
        ResourceError: It cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for layer, spec in kept_layers(plan).items():
        tensors |= {f"{layer}.{part}": value for part, value in tensors_of(store.codes(layer, spec)).items()}
    if tensors:
        with replacing(folder / NAME) as part:
            part.write_bytes(save(tensors, {"model": plan.model.fingerprint}))


def load_weights(folder: Path, plan: Plan) -> Mapping[str, QuantizedWeight]:
    """What `save_weights` wrote for ``plan``, by layer.

    Raises:
        PlanError: It is missing, damaged, of another model, or lacks a layer.
    """
    path, found = folder / NAME, {}
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("model") != plan.model.fingerprint:
                raise ValueError("its weights are of another model")  # noqa: EM101, TRY003, TRY301 - told below
            for layer, spec in kept_layers(plan).items():
                found[layer] = held_of(lambda part, layer=layer: file.get_tensor(f"{layer}.{part}"), spec)  # type: ignore[misc]
    except (OSError, SafetensorError, ValueError) as error:
        what = f"{path} does not hold the weights of this plan: {error}"
        raise PlanError(what, expected=f"the {NAME} of the same run", fix="run stablequant quantize again") from error
    return found
