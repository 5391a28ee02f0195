"""A run's folder is one unit: what is not whole is refused by name, and nobody else's file is overwritten."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stablequant.errors import ModelError, ResourceError, SettingsError
from stablequant.export import run_folder
from stablequant.export.run_folder import LOCK, MANIFEST, PLAN, RunFolder, require_ours, require_whole


def hand_over(folder: Path, files: dict[str, str], *, more: bool = False) -> None:
    """A run that leaves these files."""
    with RunFolder(folder).held() as held:
        held.aside.mkdir()
        for name, text in files.items():
            (held.aside / name).write_text(text)
        held.publish(more=more)


def content(folder: Path) -> dict[str, str]:
    """The files of a folder, but for the lock and the manifest."""
    return {p.name: p.read_text() for p in sorted(folder.iterdir()) if p.name not in (LOCK, MANIFEST)}


OLD = {PLAN: "old plan", "model.onnx": "old file"}
NEW = {PLAN: "new plan", "model.onnx": "new file"}


def test_a_new_run_takes_the_files_of_the_old_plan_away_those_for_other_runtimes_too(tmp_path: Path) -> None:
    hand_over(tmp_path, {**OLD, "encoder.onnx": "of a model of another kind"})
    hand_over(tmp_path, {"model.openvino.onnx": "the old plan's"}, more=True)
    assert content(tmp_path) == {
        **OLD,
        "encoder.onnx": "of a model of another kind",
        "model.openvino.onnx": "the old plan's",
    }
    hand_over(tmp_path, NEW)
    assert content(tmp_path) == NEW
    require_whole(tmp_path, [tmp_path / "model.onnx"])


def test_a_file_that_somebody_changed_is_kept_beside_the_new_one_each_time(tmp_path: Path) -> None:
    hand_over(tmp_path, OLD)
    (tmp_path / "notes.txt").write_text("mine")
    for text in ("mine, first", "mine, second"):
        (tmp_path / "model.onnx").write_text(text)
        hand_over(tmp_path, NEW)
    kept = {"model.onnx.orig": "mine, first", "model.onnx.orig2": "mine, second", "notes.txt": "mine"}
    assert content(tmp_path) == {**NEW, **kept}


def test_a_half_old_damaged_or_foreign_file_is_refused_by_name(tmp_path: Path) -> None:
    hand_over(tmp_path, OLD)
    file, foreign = tmp_path / "model.onnx", tmp_path / "model.openvino.onnx"
    require_whole(tmp_path, [file])
    foreign.write_text("of another run")
    with pytest.raises(ModelError, match=r"model\.openvino\.onnx does not belong to this run"):
        require_whole(tmp_path, [foreign])
    file.write_text("new file")
    with pytest.raises(ModelError, match=r"model\.onnx is damaged, or of another run"):
        require_whole(tmp_path, [file])
    file.unlink()
    with pytest.raises(ModelError, match=r"model\.onnx is missing"):
        require_whole(tmp_path, [file])
    (tmp_path / PLAN).write_text("new plan")
    with pytest.raises(ModelError, match=r"plan\.json is damaged, or of another run"):
        require_whole(tmp_path, [])
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(ModelError, match=r"has no manifest\.json: the run that writes it has not ended"):
        require_whole(tmp_path, [])


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"plan": "x", "files": {"a": 1}}', "[" * 100_000],
    ids=["empty", "list", "bare", "odd", "deep"],
)
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    hand_over(tmp_path, OLD)
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json is damaged"):
        require_whole(tmp_path, [])


#: Hands a new plan's files over, and is killed before the change of the folder whose number it is given.
KILLED = """
import json, os, signal, sys
from pathlib import Path
from stablequant.export.run_folder import RunFolder
folder, killed_at, changes = Path(sys.argv[1]), int(sys.argv[2]), 0

def counted(name):
    real = getattr(Path, name)
    def change(path, *arguments, **options):
        global changes
        if changes == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        changes += 1
        return real(path, *arguments, **options)
    setattr(Path, name, change)

with RunFolder(folder).held() as held:
    held.aside.mkdir()
    for name, text in json.loads(sys.argv[3]).items():
        (held.aside / name).write_text(text)
    counted("unlink"), counted("replace")
    held.publish(more="more" in sys.argv)
"""


@pytest.mark.parametrize("killed_at", range(9))
def test_a_run_that_is_killed_while_it_hands_over_is_refused_and_the_next_one_repairs_it(
    tmp_path: Path, killed_at: int
) -> None:
    """SIGKILL before each change of the folder in turn; the files of old and new plan are never mixed."""
    hand_over(tmp_path, OLD)
    hand_over(tmp_path, {"model.openvino.onnx": "the old plan's"}, more=True)
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(killed_at), json.dumps(NEW)]
    environment = os.environ | {"PYTHONPATH": str(Path(run_folder.__file__).parents[2])}
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    if (tmp_path / MANIFEST).exists():
        whole = OLD if "old" in (tmp_path / PLAN).read_text() else NEW
        require_whole(tmp_path, [tmp_path / name for name in whole])
    else:
        with pytest.raises(ModelError, match="the run that writes it has not ended"):
            require_whole(tmp_path, [])
    hand_over(tmp_path, NEW)
    assert content(tmp_path) == NEW
    require_whole(tmp_path, [tmp_path / "model.onnx"])


@pytest.mark.parametrize("killed_at", range(5))
def test_an_export_that_is_killed_while_it_hands_over_leaves_the_other_files_usable(
    tmp_path: Path, killed_at: int
) -> None:
    hand_over(tmp_path, OLD)
    hand_over(tmp_path, {"model.openvino.onnx": "written before"}, more=True)
    again = {"model.openvino.onnx": "written again"}
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(killed_at), json.dumps(again), "more"]
    environment = os.environ | {"PYTHONPATH": str(Path(run_folder.__file__).parents[2])}
    assert subprocess.run(command, env=environment, check=False).returncode in (0, -signal.SIGKILL)
    require_whole(tmp_path, [tmp_path / "model.onnx"])
    hand_over(tmp_path, again, more=True)
    require_whole(tmp_path, [tmp_path / name for name in (*OLD, *again)])
    assert content(tmp_path) == OLD | again


def test_what_a_killed_run_left_is_cleaned_by_the_next(tmp_path: Path) -> None:
    hand_over(tmp_path, OLD)
    for name in (run_folder.ASIDE, "float"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_text("half")
    for name in ("summary.json.part", "activations.npz.123.partial"):
        (tmp_path / name).write_text("half")
    with RunFolder(tmp_path).held():
        assert content(tmp_path) == OLD


def test_an_out_that_is_somebody_else_s_is_refused_and_left_alone(tmp_path: Path) -> None:
    mine, checkpoint = tmp_path / "mine", tmp_path / "checkpoint"
    for folder, name in ((mine, "thesis.txt"), (checkpoint, "config.json")):
        folder.mkdir()
        (folder / name).write_text("mine")
    with pytest.raises(SettingsError, match="has files that no run left there"), RunFolder(mine).held():
        pass
    with pytest.raises(SettingsError, match=r"--out .* is the checkpoint's own folder"):
        require_ours(checkpoint, checkpoint)
    with pytest.raises(SettingsError, match=r"--out .* is a file"):
        require_ours(mine / "thesis.txt")
    assert (content(mine), content(checkpoint)) == ({"thesis.txt": "mine"}, {"config.json": "mine"})


def test_an_out_that_is_new_empty_or_a_run_s_is_taken(tmp_path: Path) -> None:
    require_ours(tmp_path / "new")
    require_ours(tmp_path)
    (tmp_path / "trials.sqlite").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("mine")
    require_ours(tmp_path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="cannot be written"), RunFolder(tmp_path / "file" / "out").held():
        pass
