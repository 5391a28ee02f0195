"""What a plan clips of real speech: counts, tests and verdict, with text and without."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import support

from stablequant.cli import judging
from stablequant.data import manifest as sources
from stablequant.data.audio import read
from stablequant.errors import PlanError
from stablequant.grid.affine import QuantParams
from stablequant.jobs.clipped import clipped, verdict
from stablequant.jobs.evidence import Evidence
from stablequant.quantize.plan_grids import FramePlan
from stablequant.report.clipped import clipped as told
from stablequant.report.clipped import drawn

RATE = 16000


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shortest recordings of the test speech."""
    path = support.small_manifest(tmp_path_factory.mktemp("clipped") / "speech.jsonl", 8)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows if r["split"] == "test"))
    return path


@pytest.fixture(scope="module")
def found(evidence: Evidence, manifest: Path) -> dict:
    return clipped(evidence.job.out, [str(manifest)])


def test_counts_are_those_of_the_plan_s_grids(evidence, found):
    assert found["static_layers"] == len(evidence.plan.layers)
    assert set(found["judged"]) == set(evidence.plan.flagged)
    first = evidence.model.ops()[0].name
    grid = evidence.plan.scheme()[first].activations[0]
    assert isinstance(grid, QuantParams)
    rows = {row["layer"]: row for row in found["runs"]["before"]["layers"]}
    waveforms = [read(u, RATE) for u in sources.load(found["data"])]
    inputs = [evidence.model.frontend.features([w]).feeds["input_values"][0] for w in waveforms]
    codes = [np.rint(x / np.float32(grid.scale)) for x in inputs]
    assert rows[first]["values"] == rows[first]["frames"] == sum(map(len, inputs))
    assert rows[first]["clipped"] == sum(int((np.abs(c + 0.5) > 128).sum()) for c in codes) > 0
    assert rows[first]["most"] == [{"channel": 0, "clipped": rows[first]["clipped"]}]
    for run in found["runs"].values():
        for row in run["layers"]:
            assert row["clipped_frames"] <= min(row["clipped"], row["frames"])
            assert sum(m["clipped"] for m in row["most"]) <= row["clipped"]
    assert json.loads(json.dumps(found)) == found


def test_speech_is_clipped_and_silence_is_not_and_the_verdict_follows_its_rule(found):
    before = found["runs"]["before"]
    assert before["speech"]["in_speech"] > 5 * before["speech"]["in_silence"]
    assert before["speech"]["speech_of_clipped"] > before["speech"]["speech_of_frames"]
    tokens, words = before["tokens"], before["words"]
    assert sum(kind["count"] for kind in tokens["kinds"]) <= tokens["count"]
    assert 0 < words["wrong"] < words["count"]
    assert 0 < words["p"] <= 1
    assert found["verdict"] == ("phonetics" if tokens["p"] < 0.05 else "noise")
    quiet = {"in_speech": 0.1, "in_silence": 0.2}
    row = [{"clipped": 1}]
    assert verdict({"layers": row, "speech": quiet, "tokens": {"p": 0.001}}) == "noise"
    assert verdict({"layers": row, "speech": None, "tokens": {"p": 0.001}}) == "phonetics"
    assert verdict({"layers": [{"clipped": 0}], "speech": None, "tokens": None}) == "nothing is clipped"


def test_without_text_nothing_is_said_of_wrong_words(evidence, manifest, tmp_path, found):
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    bare = tmp_path / "bare.jsonl"
    bare.write_text("".join(json.dumps({k: v for k, v in r.items() if k != "text"}) + "\n" for r in rows))
    other = clipped(evidence.job.out, [str(bare)])
    for run in ("before", "after"):
        assert other["runs"][run] == {**found["runs"][run], "words": None}
    text = told(other)
    assert "no text, so nothing is known of words that went wrong" in text
    assert "without text nothing is known" in text.splitlines()[-1]


def test_table_and_plot_show_what_was_found(evidence, manifest, tmp_path, found, capsys):
    judging.clipped(evidence.job.out, [str(manifest)], plot=tmp_path / "clipped.svg", checkpoint="", json=False)
    out = capsys.readouterr().out
    assert out.strip() == told(found)
    assert out.splitlines()[2].startswith(found["judged"][0][:10])
    assert told(found).splitlines()[-1].startswith(found["verdict"] + ": ")
    picture = (tmp_path / "clipped.svg").read_text()
    assert picture == drawn(found)
    root = ElementTree.fromstring(picture)
    texts = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert set(found["judged"]) <= set(texts)


def test_a_plan_without_static_grids_is_refused(evidence, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(evidence.job.out, folder)
    by_frame = FramePlan(bits=8, shift=None, minimum=-1.0, maximum=1.0)
    layers = tuple(layer.model_copy(update={"activations": (by_frame,)}) for layer in evidence.plan.layers)
    evidence.plan.model_copy(update={"layers": layers}).save(folder / "plan.json")
    with pytest.raises(PlanError, match="nothing can be clipped"):
        clipped(folder, ["unread"])
