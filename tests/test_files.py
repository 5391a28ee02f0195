"""Files are written all or nothing, whatever stops the writing."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from stablequant.errors import ResourceError
from stablequant.files import disk_errors, replacing, write_text


def test_a_file_is_there_whole_and_its_folder_is_made(tmp_path):
    path = tmp_path / "a" / "b" / "plan.json"
    write_text(path, "é")
    assert path.read_bytes() == "é".encode()
    assert [p.name for p in path.parent.iterdir()] == ["plan.json"]


def test_what_fails_half_way_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_with_the_file_and_the_fix():
    path = Path("/dev/full")
    with pytest.raises(ResourceError) as told, disk_errors(path):
        path.write_text("more than nothing")
    assert str(told.value) == (
        "the disk is full while writing /dev/full (No space left on device). "
        "Fix: free some space and run the same command again: it goes on where it was."
    )


def test_a_file_beyond_the_allowed_size_leaves_the_old_one(tmp_path):
    """The limit is the process's own, as a batch system sets it."""
    path = tmp_path / "plan.json"
    path.write_text("old")
    code = "import sys; from pathlib import Path; from stablequant.files import write_text\n"
    code += "try: write_text(Path(sys.argv[1]), 'new' * 10_000)\nexcept Exception as error: print(type(error).__name__, error)"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        capture_output=True,
        text=True,
    )
    assert ran.stdout.startswith(f"ResourceError the disk is full while writing {path} (File too large).")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_a_path_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match=r"file/plan\.json cannot be written \(.*\)\. Fix: check the path"):
        write_text(tmp_path / "file" / "plan.json", "new")
