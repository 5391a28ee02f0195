"""The whole job refuses what cannot come out well before it spends hours, unless it is told to go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import support

from stablequant.errors import ModelError, SettingsError
from stablequant.export.run_folder import read_manifest
from stablequant.files import file_digest
from stablequant.jobs.evidence import Evidence
from stablequant.jobs.quantize import quantize
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
    quantize(str(support.GRAFT), [str(path)], tmp_path / "out", QUICK, known=known(), force=True)
    assert (tmp_path / "out" / "plan.json").is_file()


@pytest.mark.parametrize("group", ["activations", "weights"])
def test_a_width_without_kernels_is_refused(tmp_path: Path, group: str) -> None:
    with pytest.raises(SettingsError, match=r"setting bits is 4\. Expected 8: the width of the kernels"):
        quantize(str(support.GRAFT), ["nowhere"], tmp_path / "out", QUICK.updated(**{f"{group}.bits": 4}))
    assert not (tmp_path / "out").exists()


def test_what_was_handed_over_is_listed_with_its_sha_256(evidence: Evidence) -> None:
    folder = evidence.job.out
    found = read_manifest(folder)
    assert found is not None
    assert {"plan.json", "model.onnx", "config.json", "vocab.json"} <= found["files"].keys()
    for name, entry in found["files"].items():
        assert entry == {"sha256": file_digest(folder / name), "bytes": (folder / name).stat().st_size}
    assert found["plan"] == found["files"]["plan.json"]["sha256"]
