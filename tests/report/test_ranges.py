"""Ranges of layers, read back from the drawing, and the table of every layer."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from stablequant.jobs.evidence import Evidence
from stablequant.report.formats import figure
from stablequant.report.layers import lines, scheme_costs, scheme_name, widths
from stablequant.report.ranges import HEIGHT, LayerRange, layer_ranges, ranges, widest


def test_ranges_are_the_histograms_largest_and_99_9th_percentile(evidence: Evidence) -> None:
    found = layer_ranges(evidence.plan.layers, evidence.histograms)
    assert [r.layer for r in found] == [layer.name for layer in evidence.plan.layers]
    for row, layer in zip(found, evidence.plan.layers, strict=True):
        (histogram,) = evidence.histograms[layer.name]
        assert row.largest == pytest.approx(max(-histogram.minimum, histogram.maximum))
        assert row.usual == histogram.percentile_abs(99.9) <= row.largest
    assert widest(found).ratio == max(r.largest / r.usual for r in found) > 5


def test_stems_stand_in_order_between_their_ends_on_a_logarithmic_axis() -> None:
    found = [LayerRange("a.layers.0.q", "g", 1.0, 10.0), LayerRange("a.layers.1.q", "g", 10.0, 100.0, strong=True)]
    drawn = ElementTree.fromstring(ranges([*found, LayerRange("b", "h", 0.0, 0.0)]))
    stems = [e for e in drawn.iter("line") if "stem" in e.get("class", "")]
    assert [float(e.get("x1", "")[:-1]) for e in stems] == pytest.approx([50 / 3, 50, 250 / 3], abs=0.01)
    ends = [(float(e.get("y1", "")), float(e.get("y2", ""))) for e in stems]
    assert ends[:2] == [(HEIGHT, HEIGHT / 2), (HEIGHT / 2, 0.0)]
    assert ends[2] == (HEIGHT, HEIGHT)
    titles = ["".join(e.itertext()) for e in drawn.iter("title")]
    assert titles[1] == "a.layers.1.q: largest 100, 99.9 % within 10 (10 times)"
    assert math.isinf(LayerRange("x", "g", 0.0, 1.0).ratio)


def test_the_table_has_each_layers_scheme_widths_range_and_cost(evidence: Evidence) -> None:
    rows = lines(evidence.plan.layers, evidence.histograms)
    for row, layer in zip(rows, evidence.plan.layers, strict=True):
        assert (row.name, row.scheme, row.widths) == (layer.name, "static", "w8a8")
        assert row.largest == figure(evidence.histograms[layer.name][0].percentile_abs(100))
        assert row.p == ("" if layer.p is None else f"{layer.p:g}")
    first = evidence.plan.layers[0]
    bare = first.model_copy(update={"activations": (), "weight": None})
    assert (scheme_name(bare), widths(bare)) == ("float", "")
    assert scheme_costs(evidence.plan.layers) == []


def test_the_band_of_a_trial_is_floats_rate_plus_the_paired_difference(evidence: Evidence) -> None:
    found = evidence.search.stage2.trials
    reference = evidence.search.reference.score.rate
    assert all(t.interval and t.interval[0] <= t.rate <= t.interval[1] for t in found)
    # On the same utterances as float: where both err alike there is no width at all.
    alike = [t for t in found if t.interval == (reference, reference)]
    assert all(t.rate == reference for t in alike)
    assert np.ptp([t.interval for t in found if t.rate != reference]) > 0
