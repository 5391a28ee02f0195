"""The page of a real run: complete, true to the summary, safe, and nothing but itself."""

from __future__ import annotations

import dataclasses
import html
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from stablequant.jobs.evidence import Evidence
from stablequant.report import page as pages
from stablequant.report.card import card
from stablequant.report.formats import interval, signed, split_name, verdict
from stablequant.report.layers import sensitivity
from stablequant.report.material import Material
from stablequant.report.summary import p_curves, summarise
from stablequant.search.stage2 import PercentileSearch, Trial


def page(evidence: Evidence, summary: dict[str, Any]) -> str:
    return pages.page(Material.of(evidence, summary))


VOID = {"meta", "link", "br", "hr", "img", "input"}


class Reader(HTMLParser):
    """Collects elements and text, and fails on a tag that closes nothing or is never closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def classes(self, name: str) -> list[dict[str, str | None]]:
        return [a for _, a in self.elements if name in (a.get("class") or "").split()]


@pytest.fixture(scope="module")
def rendered(evidence: Evidence, summary: dict[str, Any]) -> str:
    return page(evidence, summary)


@pytest.fixture(scope="module")
def read(rendered: str) -> Reader:
    return Reader(rendered)


def test_verdict_and_main_figures_are_the_summary(read: Reader, summary: dict[str, Any]) -> None:
    file = summary["int8_file"]
    assert verdict(summary) in read.text
    assert f"{summary['float']['wer']:.2f} to {file['wer']:.2f} %" in read.text
    assert f"{file['bytes_ratio']:.3f} ×" in read.text
    assert f"{file['speedup']:.2f} ×" in read.text
    assert f"{summary['ops_int8']} of {summary['ops']}" in read.text


def test_every_method_has_all_its_numbers_in_one_row(rendered: str, summary: dict[str, Any]) -> None:
    rows = [" ".join(re.sub("<[^>]+>", " ", r).split()) for r in re.findall(r"<tr.*?</tr>", rendered, re.DOTALL)]
    for name, label in [*((n, n) for n in summary["methods"]), ("int8_file", "int8 file")]:
        r = summary["methods"].get(name) or summary[name]
        cells = [label, f"{r['wer']:.2f}", signed(r["delta"]), interval(r["delta_interval"]), f"{r['cer']:.2f}"]
        cells += [str(r[kind]) for kind in ("substitutions", "deletions", "insertions")]
        assert " ".join(cells) in rows
    assert rows[1].startswith(f"float32 {summary['float']['wer']:.2f}")


def test_every_layer_has_its_bar_and_number(read: Reader, evidence: Evidence) -> None:
    assert len(read.classes("layer")) == len(evidence.plan.layers)
    assert len(read.classes("is-flagged")) == len(evidence.plan.flagged)
    for layer in evidence.plan.layers:
        assert f"{layer.name}: {signed(layer.sensitivity or 0.0)} points" in read.text


def test_every_flagged_layer_has_its_histogram_with_its_grid(read: Reader, evidence: Evidence) -> None:
    flagged = [layer for layer in evidence.plan.layers if layer.flagged]
    assert flagged, "the run is meant to flag a layer"
    assert len(read.classes("activation")) == len(flagged)
    for layer in flagged:
        grid = layer.activations[0]
        assert f"scale {grid.scale:.4g}" in read.text
        assert f"max {grid.maximum:.3g}" in read.text
        assert f"cut-off {grid.params().range.high:.3g}" in read.text
        assert f"p {layer.p:g} %" in read.text


def test_the_search_shows_every_trial(read: Reader, evidence: Evidence) -> None:
    assert len(evidence.search.stage2.trials) == 3
    for trial in evidence.search.stage2.trials:
        (p,) = set(trial.p.values())
        assert f"p = {p:g} %: error rate {trial.rate:.2f} %" in read.text


def test_provenance_is_there(read: Reader, evidence: Evidence, summary: dict[str, Any]) -> None:
    assert summary["command"] in read.text
    assert summary["machine"]["cpu"] in read.text
    assert summary["model"]["fingerprint"] in read.text
    for name, version in summary["versions"].items():
        assert f"{name} {version}" in read.text
    for name, value in evidence.plan.settings.flat().items():
        assert f"{name} {value}" in read.text
    for check in evidence.agreements:
        assert f"{check.reference} {signed(check.difference)} {interval(check.interval)} {check.limit:.2f}" in read.text
    assert "No recording was skipped" in read.text


def test_the_page_loads_nothing(rendered: str, read: Reader) -> None:
    for tag, attributes in read.elements:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed", "base", "use", "image", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name == "src":
                assert (tag, str(value)[:23]) == ("audio", "data:audio/mpeg;base64,")
            if name in ("href", "xlink:href", "srcset", "data", "style"):
                assert (tag, str(value)[0]) == ("a", "#")
            assert "url(" not in (value or "")
    style = "".join(re.findall(r"<style>(.*?)</style>", rendered, re.DOTALL))
    assert "@import" not in style
    assert "url(" not in style
    assert "//" not in style


def test_names_from_outside_stay_text(evidence: Evidence, summary: dict[str, Any]) -> None:
    evil = "<img src=x onerror=alert(1)>\"'&amp;{{ 7*7 }}"
    first, *rest = evidence.plan.layers
    plan = evidence.plan.model_copy(
        update={
            "model": evidence.plan.model.model_copy(update={"name": evil}),
            "data": {k: d.model_copy(update={"sources": (evil,)}) for k, d in evidence.plan.data.items()},
            "layers": (first.model_copy(update={"name": evil, "flagged": True, "p": 0.25}), *rest),
        }
    )
    histograms = {**evidence.histograms, evil: evidence.histograms[first.name]}
    trials = (Trial({evil: 0.0}, 9.0, 4.0), Trial({evil: 0.25}, 8.0, 4.0))
    search = dataclasses.replace(evidence.search, stage2=PercentileSearch({evil: 0.25}, {}, (trials,)))
    test = dataclasses.replace(evidence.job.speech["test"], skipped=((evil, evil),))
    changed = dataclasses.replace(
        evidence,
        plan=plan,
        histograms=histograms,
        search=search,
        job=dataclasses.replace(evidence.job, command=evil, speech={**evidence.job.speech, "test": test}),
        warnings=(evil,),
    )
    rendered = page(changed, summarise(changed))
    read = Reader(rendered)
    assert "<img" not in rendered
    assert "49" not in re.findall(r"onerror=alert\(1\)[^<]{0,40}", html.unescape(rendered))[0]
    # Title, heading, command, warning, skipped recording and its reason, data, model, layer: nowhere lost.
    assert read.text.count("onerror=alert(1)") >= 9


def test_a_run_without_flagged_layers_says_so(evidence: Evidence) -> None:
    calm = [x.model_copy(update={"flagged": False, "p": None, "sensitivity": 0.0}) for x in evidence.plan.layers]
    calm[3] = calm[3].model_copy(update={"sensitivity": 0.11})
    plan = evidence.plan.model_copy(update={"layers": tuple(calm), "p": None})
    search = dataclasses.replace(evidence.search, stage2=PercentileSearch({}, evidence.search.scheme, ()))
    changed = dataclasses.replace(evidence, plan=plan, search=search)
    read = Reader(page(changed, summarise(changed)))
    assert "None is flagged" in read.text
    assert f"{calm[3].name} , costs +0.11" in read.text
    assert "nothing was clipped" in read.text
    assert "The widest activations under one calibrated scale" in read.text
    assert len(read.classes("activation")) == pages.MOST_HISTOGRAMS
    assert "None %" not in read.text


def test_two_planes_and_a_flag_beyond_chance_are_told_on_page_and_card(evidence: Evidence) -> None:
    first, *rest = evidence.plan.layers
    grids = tuple(a.model_copy(update={"planes": 2}) for a in first.activations)
    layers = (first.model_copy(update={"flagged": True, "p": 0.25, "activations": grids}), *rest)
    settings = evidence.plan.settings.updated(planes=2, beyond_chance=True)
    plan = evidence.plan.model_copy(update={"layers": layers, "settings": settings})
    changed = dataclasses.replace(evidence, plan=plan)
    summary = summarise(changed)
    for told in (page(changed, summary), card(changed, summary)):
        assert ", and more than chance" in told
    assert "divides each step 254 times" in page(changed, summary)
    assert "two int8 planes" in card(changed, summary)
    plain = summarise(evidence)
    for told in (page(evidence, plain), card(evidence, plain)):
        assert ", and more than chance" not in told
        assert "divides each step" not in told
        assert "two int8 planes" not in told


def test_a_run_whose_stage_1_came_from_an_earlier_one_has_no_resolution_to_tell(evidence: Evidence) -> None:
    changed = dataclasses.replace(evidence, resolution=None)
    assert "Chance alone makes" not in page(changed, summarise(changed))
    told = dataclasses.replace(evidence, resolution=0.44)
    assert "Chance alone makes differences of about 0.44 points" in page(told, summarise(told))


def test_a_race_says_which_numbers_are_forecasts(evidence: Evidence) -> None:
    settings = evidence.plan.settings.updated(strategy="racing")
    changed = dataclasses.replace(evidence, plan=evidence.plan.model_copy(update={"settings": settings}))
    summary = summarise(changed)
    assert "on all of it is a forecast" in page(changed, summary)
    assert "Both stages were races" in card(changed, summary)
    assert summary["search"]["mode"] == "racing"
    for told in (page(evidence, summarise(evidence)), card(evidence, summarise(evidence))):
        assert "forecast" not in told
        assert "races" not in told


def test_a_search_per_layer_draws_each_layers_own_curve(evidence: Evidence) -> None:
    values = evidence.plan.settings.search.candidates()
    shared = tuple(Trial({"a": p, "b": p}, 9 - p, 4.0) for p in values)
    first = tuple(Trial({"a": p, "b": values[-1]}, 8 + p, 4.0) for p in values)
    second = tuple(Trial({"a": values[0], "b": p}, 7 + p, 4.0) for p in values)
    search = dataclasses.replace(evidence.search, stage2=PercentileSearch({}, {}, (shared, first, second)))
    changed = dataclasses.replace(evidence, search=search)
    found = p_curves(changed)
    assert [c["layer"] for c in found] == [None, "a", "b"]
    assert [c["chosen"] for c in found] == [values[-1], values[0], values[0]]


def test_sentences_of_stage_1_do_not_run_into_each_other(evidence: Evidence) -> None:
    settings = evidence.plan.settings.updated(strategy="racing")
    plan = evidence.plan.model_copy(update={"settings": settings})
    changed = dataclasses.replace(evidence, plan=plan, resolution=0.44)
    text = page(changed, summarise(changed))
    start = text.index('id="sensitivity"')
    paragraph = text[text.index("<p>", start) : text.index("</p>", start)]
    assert not re.search(r"[.](?=[A-Z]|<b>)", paragraph)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("wavlm.encoder.layers.3.attention.q_proj", ("wavlm.encoder.layers.3", "attention.q_proj")),
        ("hubert.feature_extractor.conv_layers.0.conv", ("hubert.feature_extractor.conv_layers", "0.conv")),
        ("model.encoder.conv1", ("model.encoder", "conv1")),
        ("lm_head", ("", "lm_head")),
    ],
)
def test_names_split_into_module_and_operation(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts


def test_groups_keep_network_order(evidence: Evidence) -> None:
    rows = [
        ".".join(filter(None, (group.name, row.name)))
        for _, groups in sensitivity(evidence.plan.layers, 0.25)
        for group in groups
        for row in group.rows
    ]
    assert rows == [layer.name for layer in evidence.plan.layers]
