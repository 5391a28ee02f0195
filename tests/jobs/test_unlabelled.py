"""Speech of which nobody wrote down what is said: quantised, checked, reported and evaluated against the float model's words."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import support
import yaml

from stablequant.data import manifest
from stablequant.data.splits import fingerprint, make_splits
from stablequant.errors import ModelError, SettingsError
from stablequant.jobs.estimate import estimate
from stablequant.jobs.evaluate import against_float, evaluate
from stablequant.jobs.evidence import Evidence
from stablequant.jobs.quantize import quantize
from stablequant.quantize.simulate import Simulator
from stablequant.report import tables
from stablequant.report.formats import verdict
from stablequant.report.results import read_summary
from stablequant.report.write import write_reports
from stablequant.settings import Settings

#: A search without labels: three values of p.
BARE = Settings(objective="divergence", p_max=0.5, p_step=0.25, batch_size=4)
#: Whatever an error rate against text is called.
ERROR_RATES = re.compile(r"\b(?:[wc]er)(?:\b|_)|(?:word|character) error|_wer\b|_cer\b", re.IGNORECASE)


def recordings(folder: Path, names: tuple[str, ...] = (*support.SHORT, *support.CALIBRATION[:1])) -> Path:
    """A folder of plain files, one of them deeper, and beside them what is no recording."""
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(names):
        (copy,) = (support.SPEECH / "audio").glob(f"{name}.flac")
        shutil.copy(copy, folder / ("more" if number % 2 else ".") / copy.name)
    (folder / "notes.txt").write_text("no recording")
    return folder


@dataclass(frozen=True)
class Run:
    speech: Path
    out: Path
    found: Evidence
    before: dict[str, float]
    """Key -> seconds of the trials when the run was stopped."""


def trials(out: Path) -> dict[str, float]:
    with sqlite3.connect(out / "trials.sqlite") as connection:
        return dict(connection.execute("SELECT key, seconds FROM trials"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was stopped in stage 1 and went on."""
    folder = tmp_path_factory.mktemp("unlabelled")
    speech, out = recordings(folder / "speech"), folder / "out"

    def stop(title: str, done: int, total: int) -> None:
        if title.startswith("stage 1") and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(str(support.GRAFT), [str(speech)], out, BARE, progress=stop)
    before = trials(out)
    return Run(speech, out, quantize(str(support.GRAFT), [str(speech)], out, BARE, report=write_reports), before)


def test_float_s_transcripts_are_the_references_and_its_outputs_what_is_diverged_from(run: Run) -> None:
    summary = read_summary(run.out)
    assert summary["data"]["references"] == "float32"
    assert summary["search"]["objective"] == "divergence"
    assert summary["flagged"], "the run is meant to flag a layer"
    said = [a.text for a in run.found.test["float"].answers]
    assert all(said)
    for name, evaluation in run.found.test.items():
        assert [u.text for u in evaluation.examples] == said
        row = summary[name] if name in summary else summary["methods"][name]
        differ = [a.text.split() != text.split() for a, text in zip(evaluation.answers, said, strict=True)]
        assert [e > 0 for e in evaluation.score.errors] == differ
        assert row["metric"] == evaluation.score.metric == "word difference"
        assert row["rate"] == pytest.approx(
            100 * sum(evaluation.score.errors) / sum(len(t.split()) for t in said), abs=1e-4
        )
        if name != "float":
            low, high = row["rate_interval"]
            assert low <= row["rate"] <= high
            assert row["divergence"] == pytest.approx(run.found.fidelity[name].rate, rel=1e-3)
            assert row["divergence_error"] > 0
    rows = summary["methods"]
    assert rows["max"]["divergence"] > 2 * rows["stablequant"]["divergence"]
    # The file computes what the plan says: it diverges from float as far as the simulation does.
    assert summary["int8_file"]["divergence"] == pytest.approx(rows["stablequant"]["divergence"], rel=0.25)


def test_the_plan_keeps_the_identity_of_speech_without_text(run: Run) -> None:
    splits = make_splits(manifest.load([str(run.speech)]))
    assert run.found.plan.settings.data.task == "likeness"
    for name, identity in run.found.plan.data.items():
        assert identity.fingerprint == fingerprint(getattr(splits, name))


def test_a_run_that_was_stopped_goes_on_and_repeats_nothing(run: Run) -> None:
    after = trials(run.out)
    assert len(run.before) > 20
    assert {key: after[key] for key in run.before} == run.before


def test_nothing_that_is_told_of_the_run_is_called_an_error_rate(run: Run) -> None:
    summary, page = read_summary(run.out), (run.out / "report.html").read_text()
    card = (run.out / "README.md").read_text()
    told = {"summary": json.dumps(summary), "page": page, "card": card, "table": tables.methods(summary)}
    assert {name: ERROR_RATES.findall(text) for name, text in told.items()} == dict.fromkeys(told, [])
    for name in ("page", "card", "table"):
        assert "no error rate was measured" in told[name]
    assert verdict(summary) in page.replace("&#39;", "'")
    file = summary["int8_file"]
    assert f"{file['rate']:.2f} % of words differ from float32's transcripts" in verdict(summary)
    assert verdict(summary).endswith("The speech has no text, so no error rate was measured.")
    front = yaml.safe_load(card.split("---\n")[1])
    assert "model-index" not in front
    assert "metrics" not in front


def test_evaluate_compares_as_the_run_did(run: Run, tmp_path: Path) -> None:
    result = evaluate(str(run.out), [str(run.speech)], conditions="noise:0")
    file = read_summary(run.out)["int8_file"]
    same = ("metric", "rate", "rate_interval", "words", "utterances", "normalizer", "divergence", "divergence_error")
    assert {key: result[key] for key in same} == {key: file[key] for key in same}
    assert [row["reference"] for row in result["transcripts"]] == [a.text for a in run.found.test["float"].answers]
    told = tables.evaluation(result)
    assert "no error rate was measured" in told
    assert ERROR_RATES.findall(told + json.dumps(result)) == []
    # In noise float's own words are no longer those that it says of the clean recordings.
    (noisy,) = result["conditions"]
    assert noisy["float"]["metric"] == "word difference"
    assert noisy["float"]["rate"] > 0
    assert noisy["int8"]["delta"] == pytest.approx(noisy["int8"]["rate"] - noisy["float"]["rate"], abs=1e-3)
    assert {row["float_rate"] for row in result["buckets"]["set"]} == {0}
    # The same folder on speech with text: errors are counted, after the normaliser of its language.
    path = support.small_manifest(tmp_path / "speech.jsonl", 3)
    labelled = evaluate(str(run.out), [str(path)])
    assert (labelled["metric"], labelled["normalizer"]) == ("WER", "english")


def test_evaluate_without_the_float_checkpoint_says_so(run: Run, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"has no text, so a model is compared with its float checkpoint, which .* is itself"
    ):
        evaluate(str(support.GRAFT), [str(run.speech)])
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(
        ModelError, match=r"its float checkpoint, which cannot be loaded: .*nowhere.* --checkpoint, or give"
    ):
        evaluate(str(run.out), [str(run.speech)], checkpoint=nowhere)


def test_the_paper_s_search_is_refused_before_anything_is_computed(run: Run, tmp_path: Path) -> None:
    told = (
        r"the speech has no text, and the paper's search \(objective=task\).*--objective divergence\), .*--recipe fast"
    )
    for job in (quantize, lambda model, speech, out, settings: estimate(model, speech, settings)):
        with pytest.raises(SettingsError, match=told) as refused:
            job(str(support.GRAFT), [str(run.speech)], tmp_path / "out", Settings())
        assert refused.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_the_fast_recipe_needs_no_text(run: Run, tmp_path: Path) -> None:
    settings = Settings(scales="frame", strategy="none", batch_size=4)
    found = quantize(str(support.GRAFT), [str(run.speech)], tmp_path / "out", settings, report=write_reports)
    assert found.search.layers == ()
    assert found.fidelity.keys() == {"max", "percentile", "mse", "stablequant", "int8_file"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert ERROR_RATES.findall(page) == []


def test_a_dry_run_tries_the_same(run: Run) -> None:
    found = estimate(str(support.GRAFT), [str(run.speech)], BARE)
    assert found.seconds > 0
    assert found.values == 3


def test_a_float_model_that_says_nothing_ends_the_run_before_the_search(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "noise"
    folder.mkdir()
    for number in range(6):
        soundfile.write(folder / f"{number}.wav", np.random.default_rng(number).normal(size=8000) * 1e-3, 16000)
    seen: list[str] = []
    told = r"does not work in float on the dev speech: (\d) of \1 transcripts are empty\..* recordings without speech, .* --force"
    with pytest.raises(ModelError, match=told):
        quantize(
            str(support.GRAFT), [str(folder)], tmp_path / "out", BARE, progress=lambda title, *_: seen.append(title)
        )
    assert seen[-1] == "float on dev"
    assert not (tmp_path / "out" / "plan.json").exists()


def test_outputs_of_the_float_model_itself_do_not_diverge() -> None:
    model, speech = support.moonshine(), support.speech(support.SHORT[:2])
    simulator = Simulator(model)
    same, distance = against_float(model.frontend, simulator.backend({}), simulator.backend({}), speech)
    assert [bool(a.text) for a in same] == [True, True]
    assert distance.errors == (0.0, 0.0)
    # A decoder is judged token by token, the end included.
    assert distance.units == tuple(len(a.tokens) + 1.0 for a in same)
    _, other = against_float(
        model.frontend, simulator.backend({}), simulator.backend(support.scheme("moonshine", "max")), speech
    )
    assert other.rate > 0.01
    assert other.units == distance.units
