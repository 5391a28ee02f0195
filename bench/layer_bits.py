"""Which layers break at which bits: what rounding each alone costs at every width, and what GPTQ mends of it.

    python bench/layer_bits.py                                    # Moonshine tiny on the embedded speech
    python bench/layer_bits.py tests/assets/wavlm-graft

For every layer that can be quantised, two estimates in nats a step of divergence from float, of all layers in one pass each
(search/fisher.py): of its input rounded to so many bits, with a scale a block of 32 in linear layers and a scale a frame in
convolutions that can have one, a calibrated scale in others; and, in linear layers, of its weight rounded to so many bits in
groups of 32, to the nearest codes and by GPTQ. Layers are added up by what they do. Adds a model to
bench/results/layer_bits.json.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
from outliers import part
from result_path import RESULTS, command, save
from study import Study
from tables.layer_bits import table

from stablequant.families.model import Op
from stablequant.grid.unrounded import Unrounded
from stablequant.grid.weights import PerGroup, WeightSpec
from stablequant.quantize.scheme import LayerScheme
from stablequant.search.fisher import Errors, Options, estimate
from stablequant.search.journal import Journal
from stablequant.search.objective import Divergence
from stablequant.settings import Settings

ACTIVATIONS, WEIGHTS, GROUP = (8, 6, 5, 4, 3), (8, 6, 5, 4, 3), 32


def role(op: Op) -> str:
    """What a layer does, as its module is called; layers that read the same are one."""
    if op.node.kind != "linear":
        return "convolutions"
    name = next(piece for piece in reversed(op.name.split(".")) if not piece.isdigit())
    return "q, k, v" if name in ("q_proj", "k_proj", "v_proj") else name


def kind(op: Op) -> str:
    """Part of the model and role."""
    where = part(op) if op.graph in ("encoder", "decoder") else ""
    return role(op) if where in ("", "head") else f"{where}, {role(op)}"


def of_activations(study: Study) -> Options:
    """Each layer's input at every width; what its weight is does not count."""
    found: dict[str, dict[str, LayerScheme]] = {}
    for bits in ACTIVATIONS:
        both = {"activations.convolutions": bits, "activations.bits": bits, "weights.group": GROUP}
        for layer, scheme in study.by_frame(study.settings.updated(**both)).items():
            found.setdefault(layer, {})[str(bits)] = scheme
    return found


def of_weights(study: Study) -> Options:
    """The weight of each linear layer at every width, its input in float."""
    nearest = {str(bits): WeightSpec(bits, PerGroup(GROUP), "mse") for bits in WEIGHTS}
    specs = nearest | {f"{bits}, GPTQ": replace(spec, rounding="gptq") for bits, spec in nearest.items()}
    schemes = {name: LayerScheme((Unrounded(),), spec) for name, spec in specs.items()}
    return {op.name: schemes for op in study.model.ops() if op.node.kind == "linear"}


def added(study: Study, errors: Errors) -> dict[str, dict[str, float]]:
    """Nats by kind of layer and width, in the order in which the kinds first run."""
    found: dict[str, dict[str, float]] = {}
    for op in study.model.ops():
        for name, nats in errors.get(op.name, {}).items():
            row = found.setdefault(kind(op), {})
            row[name] = row.get(name, 0.0) + nats
    return {name: {width: float(f"{nats:.4g}") for width, nats in row.items()} for name, row in found.items()}


def main() -> None:
    """Estimate the layers of one model."""
    parser = inputs.arguments_of(__doc__)
    inputs.add_model(parser)
    inputs.add_data(parser)
    parser.add_argument("--count", type=int, default=32, help="dev utterances to estimate on; default: 32")
    arguments = parser.parse_args()
    name, data = Path(arguments.model).name, inputs.sources(arguments)
    settings = Settings.parse({"objective": "divergence", "divergence_utterances": arguments.count})
    study = Study.read(arguments.model, data, settings, f"layer-bits/{name}")
    trials = study.trials("dev", Divergence(), study.store(), Journal(study.folder / "trials.sqlite"))
    layers: dict[str, int] = {}
    for op in study.model.ops():
        layers[kind(op)] = layers.get(kind(op), 0) + 1
    model: dict[str, Any] = {
        "command": command(),
        "data": [Path(d).name for d in data],
        "utterances": len(trials.speech.utterances),
        "layers": layers,
        "activations": added(study, estimate(trials, of_activations(study))),
        "weights": added(study, estimate(trials, of_weights(study), weights=True)),
    }
    path = RESULTS / "layer_bits.json"
    models = json.loads(path.read_text())["models"] if path.is_file() else {}
    print(table(save("layer_bits", {"models": models | {name: model}})))


if __name__ == "__main__":
    main()
