"""Evolution of scales: it mends scales that are off, draws the same from the same seed, and a stopped one goes on."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import support

import stablequant as sq
from stablequant.errors import SettingsError
from stablequant.grid.affine import QuantParams
from stablequant.grid.frame import PerFrame
from stablequant.grid.weights import WeightSpec
from stablequant.quantize.scheme import LayerScheme
from stablequant.search.evolve import scaled
from stablequant.search.journal import Journal, finished

LAYERS = ("wavlm.encoder.layers.0.attention.out_proj", "lm_head")
EVALUATIONS = 21


def off() -> dict[str, LayerScheme]:
    """Two layers whose calibrated scales were made three times too wide, or narrow, and one that has none."""
    calibrated = support.scheme("graft")
    found = scaled({n: calibrated[n] for n in LAYERS}, dict(zip(LAYERS, (3.0, 1 / 3), strict=True)))
    return {**found, "wavlm.encoder.layers.1.attention.q_proj": LayerScheme((PerFrame(8),), WeightSpec())}


def evolve(journal: Path | None = None, **options: Any) -> Any:
    speech = support.speech(support.SHORT[:1])
    trials = sq.Trials(support.graft(), speech, sq.Divergence(), journal=journal)
    return sq.evolve(trials, off(), **{"evaluations": EVALUATIONS, "seed": 3, **options})


def test_scales_that_are_off_are_mended_and_a_stopped_evolution_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    whole = evolve(tmp_path / "whole.sqlite")
    assert np.array_equal(state, np.random.get_state()[1])  # type: ignore[index]
    assert whole.factors["lm_head"] > 1
    assert whole.after.score.rate < 0.9 * whole.before.score.rate
    assert set(whole.factors) == set(LAYERS)
    for name, layer in off().items():
        (before,), (after,) = layer.activations, whole.scheme[name].activations
        factor = whole.factors.get(name)
        if factor is None:
            assert after == before
        else:
            assert isinstance(before, QuantParams)
            assert after == QuantParams(before.scale * factor, before.zero_point)
    assert len(finished(tmp_path / "whole.sqlite")) == whole.evaluations <= EVALUATIONS
    # Stopped in its second generation, and run again.
    journal, count = tmp_path / "trials.sqlite", 0
    add = Journal.add

    def dying(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == 10:
            raise KeyboardInterrupt
        add(*arguments)

    monkeypatch.setattr(Journal, "add", dying)
    with pytest.raises(KeyboardInterrupt):
        evolve(journal)
    again = evolve(journal)
    assert count == whole.evaluations + 1
    assert again.factors == whole.factors
    assert evolve(seed=4, evaluations=8).factors != whole.factors


def test_what_cannot_be_evolved_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="none of the layers has one"):
        evolve(layers=["wavlm.encoder.layers.1.attention.q_proj", "none"])
    with pytest.raises(SettingsError, match="2 layers in 7 evaluations.*Expected at least 8"):
        evolve(evaluations=7)
    monkeypatch.setitem(sys.modules, "cma", None)
    with pytest.raises(SettingsError, match=r"package cma.*pip install 'stablequant\[evolve\]'"):
        evolve()


def test_one_factor_moves_every_static_grid_of_a_layer() -> None:
    grids = (QuantParams(0.5, 3), QuantParams(0.25, 0), PerFrame(8))
    found = scaled({"a": LayerScheme(grids, None), "b": LayerScheme(grids[:1], None)}, {"a": math.e})
    assert found["a"].activations == (QuantParams(0.5 * math.e, 3), QuantParams(0.25 * math.e, 0), PerFrame(8))
    assert found["b"].activations == grids[:1]
