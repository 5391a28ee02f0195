"""No room on the disk or in memory, and files in the way: real ones, in processes of their own."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from commands import MODEL, finish, rows, start, write_manifest

from stablequant.cli.console import plain_errors
from stablequant.data import manifest as manifests
from stablequant.errors import DataError
from stablequant.export.agreement import compare, require
from stablequant.export.run_folder import RunFolder
from stablequant.heads.head import Answer
from stablequant.search.journal import Journal
from stablequant.settings import DataSettings
from stablequant.tasks.task import evaluate, task_of

#: An answer as a journal keeps it: text, tokens, cut off.
READING = ["so it goes", [5, 6, 7], False]

#: Fills a journal on a file system of 64 kB, then quantises with room for everything but the int8 file, then with enough.
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=64k none "$0" || exit 77
python=$1; fill=$2; shift 2
"$python" -c "$fill" "$0/full.sqlite" >&2; rm "$0"/full.sqlite*; echo "code 2" >&2
mount -o remount,size=4m none "$0"; "$python" "$@"; echo "code $?" >&2
mount -o remount,size=64m none "$0"; "$python" "$@"; echo "code $?" >&2
"""

#: Adds trials until there is no room; tells the error, and whether the trials before it are all there.
FILL = """
import sys
from pathlib import Path
from stablequant.errors import ResourceError
from stablequant.search.journal import Journal
count = 0
with Journal(Path(sys.argv[1])) as journal:
    try:
        while True:
            journal.add(str(count), "max", 0, 1.0, 9, [["so it goes", [5, 6, 7], False]])
            count += 1
    except ResourceError as error:
        print(f"error: {error} kept {len(journal) == count > 0}")
"""

#: Runs commands in a process that may only have so many more bytes of addresses than it has now; from the third on it is as
#: on a system that tells nothing of its memory.
IN_LITTLE_MEMORY = """
import json, math, resource, sys
from pathlib import Path
import stablequant.jobs.evaluate, stablequant.jobs.pieces
from stablequant.cli.main import main
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for number, command in enumerate(json.loads(sys.argv[2])):
    if number == 2:
        stablequant.jobs.pieces.available = lambda: math.inf
    sys.argv = ["stablequant", *command]
    try:
        main()
    except SystemExit as left:
        print("code", left.code, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory, manifest):
    """A journal and two runs of one command, each with less room than it would like."""
    mount = tmp_path_factory.mktemp("disk")
    inside = ["sh", "-c", ON_A_SMALL_DISK, str(mount), sys.executable, FILL, "-m", "stablequant.cli.main"]
    # The mount is seen by these processes alone and goes with them.
    own = ["unshare", "--user", "--map-root-user", "--mount"]
    allowed = shutil.which("unshare") and not subprocess.run([*own, "true"], capture_output=True).returncode
    if not allowed:
        pytest.skip("no user namespaces here, so no file system of one's own")
    data = ["quantize", str(MODEL), "--data", str(manifest), "--out", str(mount / "out"), "--json"]
    data += ["--recipe", "fast"]  # the default's moments alone would fill the disk
    ran = finish(start([*own, *inside, *data]))
    if ran.code == 77:
        pytest.skip("mounting a file system is not allowed here")
    return mount, ran


def test_a_full_disk_is_told_and_the_run_goes_on_once_there_is_room(small_disk):
    mount, ran = small_disk
    journal, stopped, finished, _ = ran.err.split("code ")
    assert "Traceback" not in ran.err
    fix = "Fix: free some space and run the same command again: it goes on where it was."
    full = f"error: the disk is full while writing {mount / 'full.sqlite'} (database or disk is full). {fix} kept True"
    assert full in journal
    file = mount / "out" / "unverified" / "model.onnx"
    assert f"error: the disk is full while writing {file} (No space left on device). {fix}" in stopped
    assert finished.startswith("2\n")
    assert ran.err.endswith("code 0\n")
    assert json.loads(ran.out)["ops"] == 48
    assert "observing" in stopped
    assert "observing" not in finished


def test_little_memory_makes_short_pieces_and_where_it_runs_out_that_is_told(finished, tmp_path):
    commands = []
    for seconds, more in ((75, []), (150, ["--set", "batch_seconds=10000"])):
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16000 * seconds), 16000)
        data = write_manifest(tmp_path / f"{seconds}.jsonl", [{"audio": str(path), "text": "noise"}])
        options = ["--data", str(data), "--split", "all", "--json", *more]
        commands += [["evaluate", str(model), *options] for model in (MODEL, finished)]
    ran = finish(start([sys.executable, "-c", IN_LITTLE_MEMORY, "900_000_000", json.dumps(commands)]))
    assert ran.code == 0, ran.err
    pieces = [int(found) for found in re.findall(r'"pieces": (\d+)', ran.out)]
    assert len(pieces) == 2 and min(pieces) > 2, ran.out  # of a minute with enough memory
    lines = [line for line in ran.err.splitlines() if not line.startswith("transcribing ")]
    assert [line for line in lines if line.startswith("code")] == ["code 0"] * 2 + ["code 2"] * 2, ran.err
    for message in (lines[-4], lines[-2]):
        assert message.startswith("error: memory ran out (")
        assert "Fix: use smaller batches (--set batch_size=1) or shorter recordings, then run" in message


def test_only_a_lack_of_memory_is_told_as_one(capsys):
    with pytest.raises(SystemExit) as left, plain_errors(resumes=True):
        bytearray(1 << 62)
    assert left.value.code == 2
    assert capsys.readouterr().err == (
        "error: memory ran out. Fix: use smaller batches (--set batch_size=1) or shorter recordings, "
        "then run the same command again: it goes on where it was.\n"
    )
    with pytest.raises(ZeroDivisionError), plain_errors():
        _ = 1 // 0


def test_a_journal_that_is_no_database_is_named(cli, manifest, tmp_path):
    journal = tmp_path / "trials.sqlite"
    journal.write_bytes(b"no database, by far" * 100)
    before = journal.read_bytes()
    ran = cli("quantize", MODEL, "--data", manifest, "--out", tmp_path)
    assert ran.code == 2
    assert ran.err.startswith(f"error: {journal} is damaged, or no journal of trials (file is not a database).")
    assert "Fix: move it away: the trials that it held are run again." in ran.err
    assert journal.read_bytes() == before


#: What the first version kept in a journal.
OLD_JOURNAL = """trials (
    key TEXT PRIMARY KEY, label TEXT NOT NULL, shard INTEGER NOT NULL, seconds REAL NOT NULL,
    multiplications INTEGER NOT NULL, transcripts TEXT NOT NULL
) WITHOUT ROWID"""


@pytest.mark.parametrize("table", ["bookmarks (url)", "trials (key, verdict)", OLD_JOURNAL])
def test_a_database_of_another_program_is_left_alone(tmp_path, table):
    path = tmp_path / "trials.sqlite"
    with sqlite3.connect(path) as other:
        other.execute(f"CREATE TABLE {table}")
    other.close()
    before = path.read_bytes()
    with pytest.raises(
        DataError, match=r"is (something else|a journal of another version).*Fix: choose another output folder"
    ):
        Journal(path)
    assert path.read_bytes() == before


def test_a_journal_damaged_inside_is_told_when_the_damage_is_met(tmp_path):
    path = tmp_path / "trials.sqlite"
    keys = [f"{n:064}" for n in range(300)]
    with Journal(path) as journal:
        for key in keys:
            journal.add(key, "max", 0, 1.0, 9, [READING])
    damaged = bytearray(path.read_bytes())
    damaged[4096 * 3 : 4096 * 6] = b"\xff" * 4096 * 3
    path.write_bytes(damaged)
    with Journal(path) as journal, pytest.raises(DataError, match="trials.sqlite is damaged, or no journal"):
        for key in keys:
            journal.find(key)


def test_a_journal_held_by_another_run_is_told(tmp_path):
    path = tmp_path / "trials.sqlite"
    Journal(path).__exit__(None, None, None)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with Journal(path) as journal:
        journal._db.execute("PRAGMA busy_timeout = 10")  # it waits five seconds for its turn; here none is coming
        with pytest.raises(
            DataError, match=r"trials\.sqlite is held by another run .*Fix: wait for it \(--wait\), or choose"
        ):
            journal.add("key", "max", 0, 1.0, 9, [])
    other.close()


def test_a_second_run_on_a_folder_in_use_is_refused_at_once(cli, manifest, tmp_path):
    with Journal(tmp_path / "trials.sqlite"):
        ran = cli("quantize", MODEL, "--data", manifest, "--out", tmp_path)
    assert ran.code == 2
    assert (
        "trials.sqlite is held by another run. Fix: wait for it (--wait), or choose another output folder." in ran.err
    )
    with Journal(tmp_path / "trials.sqlite") as journal:
        assert len(journal) == 0


def test_a_folder_that_a_run_holds_is_refused_at_once(cli, manifest, finished, tmp_path):
    with RunFolder(tmp_path).held():
        ran = cli("quantize", MODEL, "--data", manifest, "--out", tmp_path)
    assert ran.code == 2
    assert f"error: {tmp_path} is held by another run. Fix: wait for it (--wait), or choose another" in ran.err
    own = shutil.copytree(finished, tmp_path / "own")
    with RunFolder(own).held():
        ran = cli("export", own, "--target", "tensorrt")
    assert ran.code == 2
    assert f"error: {own} is held by another run. Fix: wait for it (--wait)" in ran.err


def test_a_second_run_that_is_told_to_wait_has_its_turn(tmp_path):
    path = tmp_path / "trials.sqlite"
    holding = "import pathlib, sys, time; from stablequant.search.journal import Journal\n"
    holding += "with Journal(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(0.5); print('left')"
    first = subprocess.Popen([sys.executable, "-c", holding, path], stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "held\n"
    with Journal(path, wait=True) as second:
        assert first.communicate()[0] == "left\n"
        assert len(second) == 0


def test_trials_are_shown_while_a_run_goes_on(cli, tmp_path):
    path = tmp_path / "trials.sqlite"
    with Journal(path) as journal:
        journal.add("a", "conv1", 0, 1.5, 9, [READING, ["", [], False]])
        journal.add("b", "conv1", 1, 2.0, 9, [READING])
        journal.add("c", "conv2", 0, 9.0, 9, [READING])
        shown = json.loads(cli("trials", tmp_path, "--json").out)
        text = cli("trials", tmp_path).out
    assert shown["trials"] == [
        {"label": "conv2", "batches": 1, "utterances": 1, "seconds": 9.0},
        {"label": "conv1", "batches": 2, "utterances": 3, "seconds": 3.5},
    ]
    assert "2 trials, 12.5 seconds" in text
    assert cli("trials", tmp_path / "nowhere").code == 2


def test_an_output_folder_that_cannot_be_is_told(cli, manifest, tmp_path):
    path = tmp_path / "file"
    path.write_text("in the way")
    ran = cli("quantize", MODEL, "--data", manifest, "--out", path / "out")
    assert ran.code == 2
    assert f"error: {path / 'out'} cannot be written (Not a directory). Fix: check the path" in ran.err


def test_an_exported_file_that_says_something_else_ends_with_3(capsys, tmp_path):
    speech, task = (
        manifests.load([str(write_manifest(tmp_path / "m.jsonl", rows("test", 40)))]),
        task_of(DataSettings()),
    )
    simulated = evaluate(task, speech, [Answer(u.text, ()) for u in speech])
    file = evaluate(task, speech, [Answer("something else", ())] * 40)
    with pytest.raises(SystemExit) as left, plain_errors():
        require([compare(file, simulated, "the simulation", 0.1)], [], "out/unverified")
    assert left.value.code == 3
    message = capsys.readouterr().err
    assert message.startswith("error: the exported file failed its check: WER differs from the simulation by +")
    assert "It is kept in out/unverified." in message


@pytest.mark.parametrize(("count", "passed"), [(3, True), (10, True), (11, False)])
def test_so_few_recordings_that_all_err_more_by_chance_are_no_failure(count, passed, tmp_path):
    speech = manifests.load([str(write_manifest(tmp_path / "m.jsonl", rows("test", 40)))])[:count]
    task = task_of(DataSettings())
    simulated, file = (
        evaluate(task, speech, [Answer(text or u.text, ()) for u in speech]) for text in ("", "something else")
    )
    assert compare(file, simulated, "the simulation", 0.1).passed == passed
