"""The whole job refuses what cannot come out well before it spends hours, unless it is told to go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import support

from stablequant.errors import ModelError, SettingsError
from stablequant.export.run_folder import read_manifest
from stablequant.files import file_digest
from stablequant.jobs.evidence import Evidence
from stablequant.jobs.export import export
from stablequant.jobs.quantize import quantize
from stablequant.report.results import read_summary
from stablequant.report.write import write_reports
from stablequant.search.objective import POINTS_A_NAT
from stablequant.search.stage1 import Sensitivity
from stablequant.settings import Settings

#: One value of p and no layer flagged: the least work.
QUICK = Settings(p_max=0.0, gamma=1000.0, batch_size=4)


def known() -> list[Sensitivity]:
    return [Sensitivity(op.name, 0.0, 0.0, False) for op in support.graft().ops()]


def test_a_model_that_does_not_work_in_float_is_refused_before_the_search_unless_forced(tmp_path: Path) -> None:
    path = support.small_manifest(tmp_path / "speech.jsonl", 3)
    rows = [json.loads(line) | {"text": "something else"} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = r"wavlm-graft does not work in float on the dev speech: WER is \d+ %\. .*--force goes on all the same"
    seen: list[str] = []
    with pytest.raises(ModelError, match=told):
        quantize(
            str(support.GRAFT), [str(path)], tmp_path / "out", QUICK, progress=lambda title, *_: seen.append(title)
        )
    assert not any(title.startswith("stage") for title in seen)
    assert not (tmp_path / "out" / "plan.json").exists()

    def stop(title: str, *_: int) -> None:
        if title.startswith("stage"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # it has gone on
        quantize(str(support.GRAFT), [str(path)], tmp_path / "out", QUICK, force=True, progress=stop)


def test_what_was_handed_over_is_listed_with_its_sha_256(evidence: Evidence) -> None:
    folder = evidence.job.out
    found = read_manifest(folder)
    assert found is not None
    assert {"plan.json", "model.onnx", "config.json", "vocab.json"} <= found["files"].keys()
    for name, entry in found["files"].items():
        assert entry == {"sha256": file_digest(folder / name), "bytes": (folder / name).stat().st_size}
    assert found["plan"] == found["files"]["plan.json"]["sha256"]


def swap_letters(folder: Path) -> None:
    vocabulary = json.loads((folder / "vocab.json").read_text())
    vocabulary["E"], vocabulary["T"] = vocabulary["T"], vocabulary["E"]
    (folder / "vocab.json").write_text(json.dumps(vocabulary))


def leave_out_normalisation(folder: Path) -> None:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_normalize": False}))
    path = folder / "processor_config.json"
    content = json.loads(path.read_text())
    content["feature_extractor"]["do_normalize"] = False
    path.write_text(json.dumps(content))


def test_a_mended_processor_is_never_answered_from_what_a_wrong_one_gave(tmp_path: Path) -> None:
    speech = [str(support.small_manifest(tmp_path / "speech.jsonl", 3))]
    model, out = tmp_path / "model", tmp_path / "out"

    def run(folder: Path, damage: Callable[[Path], None] = lambda _: None) -> Evidence:
        shutil.rmtree(model, ignore_errors=True)
        shutil.copytree(support.GRAFT, model)
        damage(model)
        return quantize(str(model), speech, folder, QUICK, known=known(), force=True)

    def texts(found: Evidence, name: str) -> list[str]:
        return [a.text for a in found.test[name].answers]

    wrong = [run(out, damage) for damage in (swap_letters, leave_out_normalisation)]
    mended, fresh = run(out), run(tmp_path / "fresh")
    for name in ("float", "stablequant", "int8_file"):
        assert texts(mended, name) == texts(fresh, name)
    assert (out / "plan.json").read_bytes() == (tmp_path / "fresh" / "plan.json").read_bytes()
    assert len({tuple(texts(found, "float")) for found in (*wrong, fresh)}) == 3


def test_a_run_with_another_plan_takes_the_old_plan_s_files_for_other_runtimes_away(tmp_path: Path) -> None:
    """And export finds the speech of the run again, in a folder with a comma in its name."""
    folder, out = tmp_path / "calls, 2024", tmp_path / "out"
    folder.mkdir()
    speech = [str(support.small_manifest(folder / "manifest, 1.jsonl", 3))]
    first = quantize(str(support.GRAFT), speech, out, QUICK, known=known(), force=True)
    assert first.plan.data["test"].sources == tuple(speech)
    assert export(out, "tensorrt")["files"] == [str(out / "model.tensorrt.onnx")]
    quantize(str(support.GRAFT), speech, out, QUICK.updated(symmetric=False), known=known(), force=True)
    assert not (out / "model.tensorrt.onnx").exists()
    found = read_manifest(out)
    assert found is not None
    assert sorted(p.name for p in out.glob("*.onnx")) == [n for n in found["files"] if n.endswith(".onnx")]


def test_the_checkpoint_s_own_folder_is_no_output(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(support.GRAFT, model)
    before = sorted(path.name for path in model.iterdir())
    with pytest.raises(SettingsError, match=r"--out .*model is the checkpoint's own folder"):
        quantize(str(model), ["nowhere"], model, QUICK)
    assert sorted(path.name for path in model.iterdir()) == before


def test_a_search_by_divergence_runs_on_a_draw_of_the_dev_speech_and_is_told_in_points(tmp_path: Path) -> None:
    speech = [str(support.small_manifest(tmp_path / "speech.jsonl", 4))]
    settings = QUICK.updated(objective="divergence", divergence_utterances=2, gamma=0.5, p_max=0.2, p_step=0.1)
    found = quantize(str(support.GRAFT), speech, tmp_path / "out", settings, report=write_reports)
    summary = read_summary(tmp_path / "out")
    assert summary["search"]["objective"] == "divergence"
    assert summary["dev"]["utterances"] == 2
    assert summary["dev"]["float_wer"] == round(found.dev.rate, 4) > 0
    assert found.search.reference.score.metric == "KL"
    for layer in found.search.layers:
        assert layer.delta == pytest.approx(POINTS_A_NAT * layer.rate)
        assert layer.flagged == (layer.delta > 0.5)
    # What the float model's own answers took is counted; its pass is the unit.
    assert found.search.spent.stage_1 > 2.0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "estimated from the divergence from float32 on 2 utterances" in page
