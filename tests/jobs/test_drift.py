"""Production speech against calibration: what a part holds, how parts add up, and what is told of what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from stablequant.cli import judging
from stablequant.errors import DataError, ModelError, SettingsError
from stablequant.files import file_digest
from stablequant.grid.chance import MASS
from stablequant.jobs.drift import drift
from stablequant.jobs.evidence import Evidence
from stablequant.observe.production import Production
from stablequant.observe.reference import NAME, Reference
from stablequant.report.drift import drift as told

RATE = 16000


@pytest.fixture(scope="module")
def folder(evidence: Evidence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a run's folder, to which the first command adds its reference."""
    copy = tmp_path_factory.mktemp("drift") / "run"
    shutil.copytree(evidence.job.out, copy)
    return copy


def recordings(folder: Path, sounds: dict[str, NDArray[np.float32]]) -> str:
    folder.mkdir()
    for name, sound in sounds.items():
        soundfile.write(folder / f"{name}.wav", sound, RATE, subtype="FLOAT")
    return str(folder)


def sounds(evidence: Evidence) -> dict[str, NDArray[np.float32]]:
    """The test speech of the run."""
    speech = evidence.job.speech["test"]
    return {u.id: w for u, w in zip(speech.utterances, speech.waveforms, strict=True)}


def test_parts_add_up_to_the_whole_and_need_no_checkpoint(evidence, folder, tmp_path):
    kept = sounds(evidence)
    names = list(kept)
    sources = [
        recordings(tmp_path / "a", {n: kept[n] for n in names[:2]}),
        recordings(tmp_path / "b", {n: kept[n] for n in names[2:]}),
    ]
    whole = drift(folder, sources, save=tmp_path / "whole.npz")
    parts = [str(tmp_path / f"{number}.npz") for number in (0, 1)]
    for source, part in zip(sources, parts, strict=True):
        drift(folder, [source], save=Path(part))
    merged = drift(folder, parts[::-1], checkpoint=str(tmp_path / "gone"), save=tmp_path / "merged.npz")
    changing = {"data", "divergence"}
    assert {k: v for k, v in merged.items() if k not in changing} == {
        k: v for k, v in whole.items() if k not in changing
    }
    assert merged["divergence"] == pytest.approx(whole["divergence"])
    assert whole["recordings"] == len(names)
    assert whole["seconds"] == pytest.approx(sum(map(len, kept.values())) / RATE, abs=0.1)

    one, other = (Production.load(tmp_path / f"{name}.npz") for name in ("whole", "merged"))
    assert list(one.mass) == [f"{row['layer']}#{row['input']}" for row in whole["activations"]]
    assert one.outside == other.outside
    for name, mass in one.mass.items():  # sums of integers, in whatever order
        assert np.array_equal(mass, other.mass[name]), name
    first = next(iter(one.mass))
    assert one.mass[first].sum() == pytest.approx(len(names) * MASS, rel=1e-6)


def test_calibration_itself_is_covered_and_noise_is_not(evidence, folder, tmp_path):
    reference = folder / NAME
    calibration = evidence.job.speech["calibration"]
    same = recordings(tmp_path / "same", dict(zip("abcde", calibration.waveforms, strict=True)))
    found = drift(folder, [same])
    assert found["covered"]
    assert told(found).splitlines()[-1].startswith("covered: ")
    kept = Reference.load(reference)
    assert found["calibration"] == {
        "recordings": 5,
        "seconds": round(calibration.seconds, 1),
        "compared_with": 5,
    }
    ours = {f"{n}#{i}": h for n, hs in evidence.histograms.items() for i, h in enumerate(hs)}
    assert list(kept.activations) == list(ours)
    for name, activation in kept.activations.items():  # one at a time, and in batches as quantize observes
        assert activation.largest.max() == pytest.approx(max(-ours[name].minimum, ours[name].maximum), rel=1e-3)
        assert activation.whole.sum() == pytest.approx(5 * MASS, rel=1e-6)
    same_layer = {name: row for name, row in zip(ours, found["activations"], strict=True) if row["wasserstein"] > 1e-9}
    assert same_layer == {}

    rng = np.random.default_rng(0)
    noisy = {n: w + 0.3 * rng.standard_normal(len(w)).astype(np.float32) for n, w in sounds(evidence).items()}
    source = recordings(tmp_path / "noisy", noisy)
    found = drift(folder, [source])
    assert not found["covered"]
    beyond = [row for row in found["activations"] if row["exceeds"]]
    assert len(beyond) > 5
    text = told(found).splitlines()
    assert text[-1].startswith(f"not covered: in {len(beyond)} of {len(found['activations'])} activations ")
    assert " !" in text[2]
    assert json.loads(json.dumps(found)) == found


def test_what_is_missing_or_foreign_is_told(evidence, folder, tmp_path):
    source = recordings(tmp_path / "speech", sounds(evidence))
    plan = evidence.plan
    for case, error, words in (
        ({"model": plan.model.model_copy(update={"name": "gone/model"})}, ModelError, "say where the float checkpoint"),
        (
            {"data": plan.data | {"calibration": plan.data["calibration"].model_copy(update={"sources": ("gone",)})}},
            DataError,
            "its calibration speech is not there",
        ),
        (
            {"data": plan.data | {"calibration": plan.data["calibration"].model_copy(update={"fingerprint": "0"})}},
            DataError,
            "is not the calibration speech",
        ),
    ):
        other = tmp_path / "other"
        shutil.copytree(folder, other)
        plan.model_copy(update=case).save(other / "plan.json")
        (other / "manifest.json").unlink()
        with pytest.raises(error, match=words):
            drift(other, [source])
        shutil.rmtree(other)
    with pytest.raises(SettingsError, match="--false-alarms 2"):
        drift(folder, [source], false_alarms=2)
    with pytest.raises(SettingsError, match="a name that ends in .npz"):
        drift(folder, [source], save=tmp_path / "part")
    with pytest.raises(SettingsError, match="given twice"):
        drift(folder, ["part.npz", "part.npz"])
    part = tmp_path / "part.npz"
    part.write_bytes(b"PK")
    with pytest.raises(DataError, match="cannot be read as a part"):
        drift(folder, [str(part)])
    Production({"plan": "another"}, recordings=1).save(part)
    with pytest.raises(DataError, match="observed with another plan"):
        drift(folder, [str(part)])
    Production({"plan": file_digest(folder / "plan.json")}).save(part)
    with pytest.raises(DataError, match="no recording was observed"):
        drift(folder, [str(part)])
    (folder / NAME).write_bytes(b"PK")
    with pytest.raises(DataError, match="the next stablequant drift observes the calibration speech again"):
        drift(folder, [source])
    (folder / NAME).unlink()
    for missing in (str(tmp_path / "nowhere"), "nowhere.npz"):
        with pytest.raises(DataError, match="nowhere"):
            drift(folder, [missing])
        assert not (folder / NAME).exists()  # told before calibration speech is observed


def test_the_command_ends_with_3_where_calibration_does_not_cover(evidence, folder, tmp_path, capsys):
    quiet = {n: w * 1e-4 for n, w in sounds(evidence).items()}
    noisy = {n: w + 0.05 * np.random.default_rng(1).standard_normal(len(w)).astype("f4") for n, w in quiet.items()}
    with pytest.raises(judging.typer.Exit) as end:
        judging.drift(folder, [recordings(tmp_path / "noisy", noisy)], json=True, checkpoint="")
    assert end.value.exit_code == judging.NOT_COVERED == 3
    assert json.loads(capsys.readouterr().out)["covered"] is False
