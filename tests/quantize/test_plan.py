"""The plan on disk: what is read is what was written, and nothing else is read."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import pytest

from stablequant.errors import PlanError
from stablequant.grid.affine import QuantParams
from stablequant.grid.block import PerBlock
from stablequant.grid.frame import PerFrame
from stablequant.grid.weights import PerChannel, PerGroup, PerTensor, WeightSpec
from stablequant.quantize.plan import SCHEMA_VERSION, Identity, LayerPlan, Plan, SpeechIdentity
from stablequant.quantize.plan_grids import ActivationPlan, BlockPlan, FramePlan, WeightPlan
from stablequant.quantize.scheme import LayerScheme, require_layers
from stablequant.settings import Settings


def activation(scale: float, zero_point: int = 0) -> ActivationPlan:
    return ActivationPlan(scale=scale, zero_point=zero_point, bits=8, minimum=-3.5, maximum=141.25, cutoff=127 * scale)


def layer(name: str, *activations: ActivationPlan, p: float | None = None) -> LayerPlan:
    kind = "conv1d" if len(activations) == 1 else "matmul"
    return LayerPlan(
        name=name,
        graph="encoder",
        kind=kind,
        calibrator="mse" if p is None else "clipped_mse",
        p=p,
        flagged=p is not None,
        sensitivity=0.1 if p is None else 13.3,
        reason="réason: “told” in words",
        activations=activations,
        weight=WeightPlan.of(WeightSpec()) if kind == "conv1d" else None,
    )


def plan(scale: float = 0.1) -> Plan:
    return Plan(
        model=Identity(name="a/model", fingerprint="f" * 64, details={"family": "moonshine"}),
        data={"dev": SpeechIdentity(sources=("some, speech", "more"), fingerprint="e" * 64)},
        settings=Settings(p_step=0.02, symmetric=False),
        versions={"torch": "2.13.0"},
        p=0.02,
        layers=(
            layer("conv1", activation(0.25, -128)),
            layer("conv3", activation(scale, 3), p=0.02),
            layer("scores", activation(1 / 3), activation(1e-7)),
        ),
    )


#: An activation with a scale a frame, and one with a scale a block, as plan.json has them.
FRAME = {"kind": "per_frame", "bits": 8, "shift": None, "minimum": -1.0, "maximum": 2.5}
BLOCK = {"kind": "per_block", "bits": 8, "size": 32, "minimum": -1.0, "maximum": 2.5}


def saved(made: Plan, path: Path) -> dict[str, Any]:
    made.save(path)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    plan().save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan()


def test_a_loaded_plan_saves_to_the_same_bytes(tmp_path: Path) -> None:
    plan().save(tmp_path / "a.json")
    Plan.load(tmp_path / "a.json").save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_its_scheme_has_each_layer_with_its_grids_to_the_last_bit(tmp_path: Path) -> None:
    plan().save(tmp_path / "plan.json")
    third = QuantParams(1 / 3)
    assert Plan.load(tmp_path / "plan.json").scheme() == {
        "conv1": LayerScheme((QuantParams(0.25, -128),), WeightSpec()),
        "conv3": LayerScheme((QuantParams(0.1, 3),), WeightSpec()),
        "scores": LayerScheme((third, QuantParams(1e-7)), None),
    }
    assert plan().flagged == ("conv3",)


def test_it_is_for_one_model_alone() -> None:
    names = ["conv1", "conv2", "conv3", "scores"]
    plan().check("f" * 64, names)
    with pytest.raises(PlanError, match="a/model"):
        plan().check("0" * 64, names)
    with pytest.raises(PlanError, match="conv3"):
        plan().check("f" * 64, ["conv1", "scores"])


def test_a_layer_that_would_never_run_is_named() -> None:
    layer = LayerScheme((QuantParams(1.0),), WeightSpec())
    require_layers({"a": layer}, ["a", "b"])
    with pytest.raises(PlanError, match="names q_proj, which would never run"):
        require_layers({"a": layer, "q_proj": layer}, ["a", "b"])


def test_one_change_is_one_line_of_a_diff(tmp_path: Path) -> None:
    plan(0.1).save(tmp_path / "a.json")
    changed = plan().model_copy(update={"p": 0.04})
    changed.save(tmp_path / "b.json")
    texts = [(tmp_path / name).read_text().splitlines() for name in ("a.json", "b.json")]
    lines = [line for line in difflib.ndiff(*texts) if line[0] in "+-"]
    assert lines == ['-  "p": 0.02,', '+  "p": 0.04,'] or [line.split() for line in lines] == [
        ["-", '"p":', "0.02,"],
        ["+", '"p":', "0.04,"],
    ]


def test_layers_are_in_network_order_and_text_is_readable(tmp_path: Path) -> None:
    content = saved(plan(), tmp_path / "plan.json")
    assert [entry["name"] for entry in content["layers"]] == ["conv1", "conv3", "scores"]
    assert content["schema_version"] == SCHEMA_VERSION
    assert "réason: “told”" in (tmp_path / "plan.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, None, "1"])
def test_another_schema_is_refused(tmp_path: Path, version: Any) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(saved(plan(), path) | {"schema_version": version}))
    with pytest.raises(PlanError, match=r"plan\.json has schema version"):
        Plan.load(path)


@pytest.mark.parametrize(
    ("where", "change", "named"),
    [
        (("layers", 1, "activations", 0), {"zero_point": "many"}, r"layer conv3, activations\.0\.zero_point"),
        (("layers", 0), {"colour": "red"}, r"layer conv1, colour"),
        (("layers", 0, "weight"), {"per": "row"}, r"layer conv1, weight\.per"),
        (("layers", 0, "weight"), {"per": "group"}, r"layer conv1, weight.*per is group, group is None"),
        (("layers", 0, "weight"), {"group": 4}, r"layer conv1, weight.*per is channel, group is 4"),
        (("layers", 0, "weight"), {"per": "group", "group": 0}, r"layer conv1, weight\.group"),
        (("layers", 0), {"weight": None}, r"layer conv1 .*conv1 has grids of 1 activations and 0 weights"),
        (("layers", 1), {"activations": []}, r"layer conv3 .*conv3 has grids of 0 activations and 1 weights"),
        (("layers", 2), {"kind": "linear"}, r"layer scores .*scores has grids of 2 activations and 0 weights"),
        (("layers", 1, "activations", 0), {"kind": "per_row"}, r"layer conv3, activations\.0 .*per_row"),
        (("layers", 1, "activations", 0), {"kind": None}, r"layer conv3, activations\.0 "),
        (("layers", 1, "activations", 0), {"kind": "per_frame"}, r"layer conv3, activations\.0\.shift"),
        (("layers", 1), {"activations": ["static"]}, r"layer conv3, activations\.0 "),
        (("layers", 1, "activations"), [{**BLOCK, "size": 0}], r"layer conv3, activations\.0 .*blocks of 0 channels"),
        (("layers", 1, "activations"), [BLOCK], r"layer conv3 .*conv3 has a scale a block.*a linear layer.* same 32"),
        (("layers", 1), {"kind": "linear", "activations": [BLOCK]}, r"layer conv3 .*weights in groups of the same 32"),
        (("layers", 2, "activations"), [BLOCK, BLOCK], r"layer scores .*scores is a product .* static grids alone"),
        (("layers", 2, "activations"), [FRAME, FRAME], r"layer scores .*scores is a product .* static grids alone"),
        (("data", "dev"), {"sources": "some speech"}, r"data, dev\.sources"),
        (("settings", "weights"), {"bits": 1}, r"settings, weights\.bits"),
        (("settings",), {"bits": 1}, r"settings, activations\.bits"),
        ((), {"layers": None}, "layers"),
    ],
)
def test_what_is_wrong_in_it_is_named(tmp_path: Path, where: tuple[Any, ...], change: Any, named: str) -> None:
    path = tmp_path / "plan.json"
    content = part = saved(plan(), path)
    for step in where:
        part = part[step]
    if isinstance(part, list):
        part[:] = change
    else:
        part.update(change)
    path.write_text(json.dumps(content))
    with pytest.raises(PlanError, match=named):
        Plan.load(path)


@pytest.mark.parametrize("field", ["model", "settings", "layers", "versions"])
def test_a_missing_part_is_named(tmp_path: Path, field: str) -> None:
    path = tmp_path / "plan.json"
    content = saved(plan(), path)
    del content[field]
    path.write_text(json.dumps(content))
    with pytest.raises(PlanError, match=f"{field} is wrong"):
        Plan.load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"plan"'])
def test_another_file_is_no_plan(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(PlanError, match=r"plan\.json"):
        Plan.load(path)


def test_a_plan_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="missing"):
        Plan.load(tmp_path / "plan.json")


def test_a_half_written_plan_never_replaces_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    saved(plan(), path)
    broken = plan().model_copy(update={"versions": {"torch": object()}})
    with pytest.raises((TypeError, ValueError)):
        broken.save(path)
    assert Plan.load(path) == plan()
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize("per", [PerChannel(), PerTensor(), PerGroup(32)])
@pytest.mark.parametrize("range", ["max", "mse"])
def test_a_weight_s_spec_comes_back_from_the_plan(tmp_path: Path, per: Any, range: str) -> None:
    spec = WeightSpec(7, per, range)
    made = plan()
    first = made.layers[0].model_copy(update={"weight": WeightPlan.of(spec)})
    made.model_copy(update={"layers": (first, *made.layers[1:])}).save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json").scheme()["conv1"].weight == spec


def test_a_layer_left_in_float_is_in_the_plan_and_not_in_the_scheme(tmp_path: Path) -> None:
    content = saved(plan(), tmp_path / "plan.json")
    content["layers"][0].update(activations=[], weight=None)
    (tmp_path / "plan.json").write_text(json.dumps(content))
    loaded = Plan.load(tmp_path / "plan.json")
    assert [layer.name for layer in loaded.layers] == ["conv1", "conv3", "scores"]
    assert list(loaded.scheme()) == ["conv3", "scores"]


def framed() -> Plan:
    """The first layer with a shifted scale a frame, the second with a symmetric one."""
    made = plan()
    shifted, symmetric = (FramePlan(bits=8, shift=shift, minimum=-0.17, maximum=31.5) for shift in (0.169972, None))
    first, second, third = made.layers
    layers = (
        first.model_copy(update={"activations": (shifted,), "calibrator": "frame"}),
        second.model_copy(update={"activations": (symmetric,), "calibrator": "frame"}),
        third,
    )
    return made.model_copy(update={"layers": layers})


def test_a_scale_a_frame_comes_back_from_the_plan(tmp_path: Path) -> None:
    framed().save(tmp_path / "a.json")
    loaded = Plan.load(tmp_path / "a.json")
    assert loaded == framed()
    assert [a.activations for a in loaded.scheme().values()] == [
        (PerFrame(8, 0.169972),),
        (PerFrame(),),
        (QuantParams(1 / 3), QuantParams(1e-7)),
    ]
    loaded.save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_scale_a_block_comes_back_from_the_plan(tmp_path: Path) -> None:
    made = plan()
    block, spec = BlockPlan(bits=8, size=32, minimum=-1.0, maximum=2.5), WeightSpec(per=PerGroup(32))
    changed = {"kind": "linear", "activations": (block,), "calibrator": "block", "weight": WeightPlan.of(spec)}
    made = made.model_copy(update={"layers": (made.layers[0].model_copy(update=changed), *made.layers[1:])})
    content = saved(made, tmp_path / "a.json")
    assert content["layers"][0]["activations"] == [BLOCK]
    loaded = Plan.load(tmp_path / "a.json")
    assert loaded == made
    assert loaded.scheme()["conv1"] == LayerScheme((PerBlock(8, 32),), spec)


def test_a_plan_says_of_each_activation_which_kind_it_is(tmp_path: Path) -> None:
    content = saved(framed(), tmp_path / "plan.json")
    kinds = [[a["kind"] for a in layer["activations"]] for layer in content["layers"]]
    assert kinds == [["per_frame"], ["per_frame"], ["static", "static"]]


def test_a_plan_of_an_earlier_release_says_no_kind_and_is_static(tmp_path: Path) -> None:
    content = saved(plan(), tmp_path / "plan.json")
    for entry in content["layers"]:
        for found in entry["activations"]:
            assert found.pop("kind") == "static"
    (tmp_path / "plan.json").write_text(json.dumps(content))
    assert Plan.load(tmp_path / "plan.json") == plan()
