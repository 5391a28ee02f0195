"""Settings find their groups whatever they are called by, and every wrong one is told at once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from pydantic import ValidationError

from stablequant.errors import SettingsError
from stablequant.settings import NAMES, RENAMED, DataSettings, SearchSettings, Settings, WeightSettings, resolve

DEFAULTS = Settings().flat()
#: For every setting a value that is not its default.
OTHERS: dict[str, Any] = {
    "data.task": "other",
    "data.normalizer": "none",
    "data.language": "de",
    "data.translate": True,
    "data.window": "audio",
    "data.seed": 3,
    "data.max_bad_fraction": 0.5,
    "data.batch_size": 2,
    "data.batch_seconds": 10.0,
    "data.calibration_utterances": 7,
    "activations.bits": 4,
    "activations.convolutions": 6,
    "activations.scales": "frame",
    "activations.decoder": "block",
    "activations.symmetric": False,
    "activations.calibrator": "entropy",
    "activations.percentile": 99.0,
    "activations.removed": "fold",
    "activations.planes": 2,
    "activations.attention_matmuls": True,
    "weights.fold": "awq",
    "weights.bits": 3,
    "weights.group": 32,
    "weights.step_bits": 4,
    "weights.step_group": 64,
    "weights.convolutions": 6,
    "weights.granularity": "tensor",
    "weights.range": "mse",
    "weights.rounding": "gptq",
    "weights.iterations": 20,
    "weights.correct_bias": True,
    "search.gamma": 0.75,
    "search.beyond_chance": True,
    "search.strategy": "racing",
    "search.objective": "divergence",
    "search.divergence_utterances": 5,
    "search.allowance": 0.3,
    "search.cost": "model",
    "search.target_bytes": 0.2,
    "search.max_divergence": 0.01,
    "search.estimate_utterances": 4,
    "search.stage1_calibrator": "percentile",
    "search.p_max": 0.25,
    "search.p_step": 0.05,
    "search.p_spacing": "scale",
    "search.p_per_layer": True,
    "search.max_drop": 1.0,
    "search.max_drop_by": "multiplications",
    "check.tolerance": 0.2,
}


def changed(settings: Settings) -> dict[str, Any]:
    """The settings that are not at their defaults."""
    return {name: value for name, value in settings.flat().items() if value != DEFAULTS[name]}


def test_every_setting_is_in_one_group_and_has_another_value_here() -> None:
    assert tuple(OTHERS) == NAMES == tuple(DEFAULTS)
    assert changed(Settings.parse(OTHERS)) == OTHERS


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_is_the_same_with_and_without_its_group(name: str) -> None:
    group, _, short = name.partition(".")
    value = OTHERS[name]
    with_group = Settings.parse({name: value})
    assert changed(with_group) == {name: value}
    assert Settings.parse({group: {short: value}}) == with_group
    assert Settings().updated(**{name: value}) == with_group
    if short not in ("bits", "convolutions"):
        assert Settings.parse({short: value}) == Settings(**{short: value}) == with_group
        assert Settings().updated(**{short: value}) == with_group


@pytest.mark.parametrize("name", ["bits", "activations.bits", "weights.bits"])
def test_a_name_without_its_group_is_set_in_every_group_that_has_it(name: str) -> None:
    expected = {full: 4 for full in ("activations.bits", "weights.bits") if name in ("bits", full)}
    assert changed(Settings.parse({name: 4})) == expected


@pytest.mark.parametrize("old", RENAMED)
def test_old_names_are_understood(old: str) -> None:
    new = RENAMED[old]
    assert new in NAMES
    assert changed(Settings.parse({old: OTHERS[new]})) == {new: OTHERS[new]}
    assert changed(Settings().updated(**{old: OTHERS[new]})) == {new: OTHERS[new]}


def test_the_old_unit_of_max_drop_by_is_understood() -> None:
    assert Settings(max_drop_by="work").search.max_drop_by == "multiplications"
    assert Settings.parse({"search.max_drop_by": "work"}) == Settings(max_drop_by="multiplications")


def test_what_a_name_stands_for() -> None:
    assert resolve("gamma") == resolve("search.gamma") == ("search.gamma",)
    assert resolve("bits") == ("activations.bits", "weights.bits")
    assert resolve("grid") == ("search.p_spacing",)
    assert resolve("gama") == ("gama",)


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_a_setting_wins_over_the_group_it_is_in_in_any_order(order: tuple[int, ...]) -> None:
    given = [("search", {"gamma": 2.0, "p_max": 0.1}), ("gamma", 1.0), ("weights", WeightSettings(bits=5))]
    settings = Settings.parse(dict(given[i] for i in order))
    assert changed(settings) == {"search.gamma": 1.0, "search.p_max": 0.1, "weights.bits": 5}


def test_groups_may_be_given_whole() -> None:
    groups = {"data": DataSettings(seed=4), "search": SearchSettings(gamma=0.5)}
    assert changed(Settings(**groups)) == {"data.seed": 4, "search.gamma": 0.5}
    assert Settings.parse(Settings(**groups).model_dump(mode="json")) == Settings(**groups)


def test_updated_keeps_all_else() -> None:
    settings = Settings.parse(OTHERS)
    assert settings.updated() == settings
    expected = OTHERS | {"search.gamma": 3.0, "activations.planes": 1}
    assert settings.updated(gamma=3.0, planes=1).flat() == expected
    assert settings.updated(search={"gamma": 3.0}, planes=1).flat() == expected
    whole = settings.updated(search=SearchSettings(gamma=3.0)).search
    assert whole == SearchSettings(gamma=3.0)
    assert settings.flat() == OTHERS
    with pytest.raises(SettingsError, match="no setting gama.*did you mean gamma"):
        settings.updated(gama=1)
    with pytest.raises(SettingsError, match=r"search\.gamma is -1"):
        settings.updated(gamma=-1)


def test_every_wrong_one_is_told_at_once() -> None:
    wrong = {
        "gama": 1,
        "search.p_steps": 1,
        "nowhere.seed": 2,
        "bits": 17,
        "p_max": 50,
        "weight_method": "best",
        "check": {"tolerance": -0.5, "tolerence": 1},
        "seed": "first",
    }
    with pytest.raises(SettingsError) as told:
        Settings.parse(wrong)
    parts = set(told.value.what.split("; "))
    assert parts == {
        "there is no setting gama (did you mean gamma?)",
        "there is no setting search.p_steps (did you mean search.p_step?)",
        "there is no setting nowhere.seed",
        "there is no setting check.tolerence (did you mean check.tolerance?)",
        "setting activations.bits is 17: input should be less than or equal to 16",
        "setting weights.bits is 17: input should be less than or equal to 8",
        "setting search.p_max is 50: input should be less than 50",
        "setting weights.range is 'best': input should be 'max' or 'mse'",
        "setting check.tolerance is -0.5: input should be greater than or equal to 0",
        "setting data.seed is 'first': input should be a valid integer, unable to parse string as an integer",
    }
    assert "docs/settings.md" in str(told.value)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"weights": "int8", "weights.bits": 4}, "setting weights is 'int8'"),
        ({"weights.bits": 4, "weights": "int8"}, "setting weights is 'int8'"),
        ({"weights": None}, "setting weights is None"),
        ({"search": 5}, r"setting search\.strategy is 5"),
        ({"colour": 1, "colour.red": 2}, r"no setting colour; there is no setting colour\.red"),
        ({"search.": 1}, r"no setting search\."),
        ({".gamma": 1}, r"no setting \.gamma"),
        ({"gamma": float("nan")}, r"setting search\.gamma is nan"),
        ({"p_max": float("inf")}, r"setting search\.p_max is inf"),
        ({"max_drop_by": ["work"]}, r"setting search\.max_drop_by is \['work'\]"),
        ({"data": {"seed": 1, "normalizer": "german"}}, r"setting data\.normalizer is 'german'"),
    ],
)
def test_no_value_is_a_traceback(values: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        Settings.parse(values)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().search.gamma = 1.0


@pytest.mark.parametrize(
    ("p_max", "p_step", "last", "count"),
    [(0.5, 0.01, 0.5, 51), (0.5, 0.25, 0.5, 3), (0.3, 0.1, 0.3, 4), (0.1, 0.3, 0.0, 1)],
)
def test_candidates_ascend_from_zero_and_reach_the_largest(
    p_max: float, p_step: float, last: float, count: int
) -> None:
    values = Settings(p_max=p_max, p_step=p_step).search.candidates()
    assert (values[0], values[-1], len(values)) == (0.0, last, count)
    assert all(value == round(i * p_step, 6) for i, value in enumerate(values))


@pytest.mark.parametrize(
    ("given", "weights", "activations"),
    [
        ({"bits": "w4a8"}, (4, 32), 8),
        ({"bits": "W4A16"}, (4, 32), 16),
        ({"bits": "w8a8"}, (8, None), 8),
        ({"bits": "w4a4", "activations": "8"}, (4, 32), 8),
        ({"bits": "w8a8", "weights": "4g64"}, (4, 64), 8),
        ({"weights": "6", "activations": 6}, (6, None), 6),
        ({"weights": "4g64", "weights.group": 128}, (4, 128), 8),
    ],
)
def test_widths_may_be_written_in_one_word(given: dict[str, Any], weights: tuple[Any, ...], activations: int) -> None:
    found = Settings.parse(given)
    assert (found.weights.bits, found.weights.group) == weights
    assert found.activations.bits == activations


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bits": "w9a9"}, r"setting bits is 'w9a9'.*w8a8, w6a6, w5a8, w4a8, w4a4, w4a16"),
        ({"weights": "4x32"}, r"setting weights is '4x32'.*such as 4g32"),
        ({"activations": "8g32"}, r"setting activations is '8g32'. Expected bits, such as 8\."),
        ({"weights": "9"}, r"setting weights.bits is 9: input should be less than or equal to 8"),
    ],
)
def test_a_word_that_is_no_width_is_refused_with_one_that_is(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings.parse(given)
