"""An exported folder is evaluated as it was searched: the same division of the speech, the same idea of a word."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import support
from run_folders import list_anew

from stablequant.data import manifest
from stablequant.data.splits import make_splits
from stablequant.errors import SettingsError
from stablequant.jobs.evaluate import evaluate
from stablequant.jobs.evidence import Evidence
from stablequant.report.summary import summarise

#: Of the plan that tests evaluate by; not the default.
SEED = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Recordings whose division is the seed's."""
    path = support.small_manifest(tmp_path_factory.mktemp("data") / "speech.jsonl", 8)
    rows = [json.loads(line) | {"split": None} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def folder(evidence: Evidence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported folder whose plan says other settings than the default ones."""
    copy = Path(shutil.copytree(evidence.job.out, tmp_path_factory.mktemp("folder") / "out"))
    evidence.plan.model_copy(update={"settings": evidence.plan.settings.updated(seed=SEED, normalizer="none")}).save(
        copy / "plan.json"
    )
    list_anew(copy)
    return copy


def ids(result: dict) -> list[str]:
    return sorted(row["id"] for row in result["transcripts"])


@pytest.mark.parametrize("simulate", [False, True])
def test_the_settings_are_the_plan_s(folder: Path, data: str, simulate: bool) -> None:
    result = evaluate(str(folder), [data], simulate=simulate)
    expected, default = (make_splits(manifest.load([data]), seed).test for seed in (SEED, 0))
    assert ids(result) == sorted(u.id for u in expected) != sorted(u.id for u in default)
    assert result["normalizer"] == "none"


def test_a_float_checkpoint_has_the_default_settings(data: str) -> None:
    result = evaluate(str(support.GRAFT), [data])
    assert ids(result) == sorted(u.id for u in make_splits(manifest.load([data]), 0).test)
    assert result["normalizer"] == "english"
    other = evaluate(str(support.GRAFT), [data], given={"seed": SEED})
    assert ids(other) == sorted(u.id for u in make_splits(manifest.load([data]), SEED).test)


def test_what_is_given_goes_before_the_plan(folder: Path, data: str) -> None:
    strict, lenient = (evaluate(str(folder), [data], given=given) for given in ({}, {"normalizer": "english"}))
    assert ids(lenient) == ids(strict)
    assert lenient["normalizer"] == "english"
    # The model writes no capitals and no full stops.
    assert lenient["wer"] < strict["wer"]


@pytest.mark.parametrize("name", ["seed", "data.seed"])
def test_a_seed_that_would_mix_the_search_s_speech_into_the_test_is_refused(folder: Path, data: str, name: str) -> None:
    with pytest.raises(
        SettingsError,
        match=r"--set seed=0, but the plan was searched with seed 3\. Expected .* "
        r"Fix: leave the seed out, or use --split all on speech that the search never saw\.",
    ):
        evaluate(str(folder), [data], given={name: 0})
    assert ids(evaluate(str(folder), [data], given={name: SEED})) == ids(evaluate(str(folder), [data]))


def test_with_all_of_the_speech_there_is_no_division_to_keep(folder: Path, data: str) -> None:
    result = evaluate(str(folder), [data], "all", {"seed": 0})
    assert ids(result) == sorted(u.id for u in manifest.load([data]))


def test_a_source_that_is_a_test_set_alone_is_used_whole(evidence: Evidence, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in Path(evidence.job.sources[0]).read_text().splitlines()]
    path = tmp_path / "speech.jsonl"
    path.write_text("".join(json.dumps(row | {"split": "test"}) + "\n" for row in rows))
    assert ids(evaluate(str(support.GRAFT), [str(path)])) == sorted(row["id"] for row in rows)
    path.write_text("".join(json.dumps(row | {"split": None}) + "\n" for row in rows))
    assert len(ids(evaluate(str(support.GRAFT), [str(path)]))) < len(rows)


def test_the_test_split_of_a_run_comes_out_as_its_summary_says(evidence: Evidence) -> None:
    result = evaluate(str(evidence.job.out), evidence.job.sources, runtime="onnxruntime")
    told = summarise(evidence)["int8_file"]
    assert {key: result[key] for key in ("wer", "cer", "words", "utterances", "empty")} == {
        key: told[key] for key in ("wer", "cer", "words", "utterances", "empty")
    }
