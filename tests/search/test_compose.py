"""A plan says of each layer what it has and why, also where nothing was searched."""

from __future__ import annotations

from pathlib import Path

import pytest
import support

from stablequant.errors import ExportError
from stablequant.export.targets import TARGETS
from stablequant.quantize.by_frame import base
from stablequant.quantize.plan import Plan
from stablequant.quantize.plan_grids import BlockPlan
from stablequant.search.compose import compose
from stablequant.search.stage2 import PercentileSearch
from stablequant.search.stages import Found, Spent
from stablequant.settings import Settings


def test_a_decoder_s_layers_with_a_scale_a_block_are_named_with_their_reason(tmp_path: Path) -> None:
    model, histograms = support.moonshine(), support.histograms("moonshine")
    settings = Settings.parse({"scales": "frame", "strategy": "none", "decoder": "block"})
    scheme = base(model, histograms, settings)
    found = Found(None, (), PercentileSearch({}, scheme, ()), None, Spent(1.0, 0.0, 1, 0.0))  # type: ignore[arg-type]
    plan = compose(model, "moonshine", {}, settings, histograms, found, support.integer_weights("moonshine"))
    assert plan.scheme() == {op.name: scheme[op.name] for op in model.ops()}
    for layer in plan.layers:
        by_block = isinstance(layer.activations[0], BlockPlan)
        assert by_block == (layer.graph == "decoder") == (layer.calibrator == "block")
        if by_block:
            size = 128 if layer.name.endswith("fc2") else 32
            assert layer.reason.startswith("nothing was searched") and f"every {size} channels" in layer.reason
            assert (layer.activations[0].minimum, layer.activations[0].maximum) == (
                histograms[layer.name][0].minimum,
                histograms[layer.name][0].maximum,
            )
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    TARGETS["onnxruntime"].check(plan)
    TARGETS["openvino"].check(plan)
    decoder = plan.model_copy(update={"layers": tuple(x for x in plan.layers if x.graph == "decoder")})
    with pytest.raises(ExportError, match=r"a scale a block in 49 layers, such as model\.decoder.*tensorrt takes"):
        TARGETS["tensorrt"].check(decoder)
