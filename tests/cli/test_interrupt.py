"""A stopped run says so, keeps what it finished, and the same command goes on from there."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from commands import MODEL, STABLEQUANT, Ran, all_gone, children, finish, rows, start, trials, wait_for

from stablequant.cli import console, main
from stablequant.cli.console import unbroken
from stablequant.data.paths import shown

#: What a batch system and a closed terminal send.
ENDINGS = (signal.SIGTERM, signal.SIGHUP)


class Interrupted(NamedTuple):
    """A run that was stopped, and the same command once more."""

    out: Path
    stopped: Ran
    finished: Ran
    before: dict[str, float]
    """Key -> seconds of each trial in the journal when the run had stopped."""
    after: dict[str, float]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, manifest: Path) -> Interrupted:
    """``stablequant quantize --json``, stopped by Ctrl-C in the middle of its search, and run again."""
    out = tmp_path_factory.mktemp("run") / "out"
    arguments = ["quantize", str(MODEL), "--data", str(manifest), "--out", str(out), "--json", "--set", "batch_size=1"]
    arguments += ["--recipe", "paper", "--gamma", "0", "--p-step", "0.25"]
    command = [*STABLEQUANT, *arguments]

    first = start(command)
    wait_for(first, out, 20)
    first.send_signal(signal.SIGINT)
    stopped = finish(first)
    before = trials(out / "trials.sqlite")
    finished = finish(start(command))
    return Interrupted(out, stopped, finished, before, trials(out / "trials.sqlite"))


def test_ctrl_c_is_one_message_and_exit_code_2(interrupted):
    assert interrupted.stopped.code == 2
    assert interrupted.stopped.out == ""
    lines = interrupted.stopped.err.splitlines()
    assert lines[-1] == ("error: the run was interrupted. Fix: run the same command again: it goes on where it was.")
    assert "Traceback" not in interrupted.stopped.err


def test_the_same_command_goes_on_and_repeats_no_trial(interrupted):
    assert interrupted.finished.code == 0, interrupted.finished.err
    assert len(interrupted.before) >= 20
    # A trial that was run again would have been written again, with the seconds it took then.
    assert interrupted.before.items() <= interrupted.after.items()
    assert len(interrupted.after) > len(interrupted.before)


def test_the_finished_run_prints_one_json_object_and_leaves_a_whole_folder(interrupted):
    summary = json.loads(interrupted.finished.out)
    assert json.loads((interrupted.out / "summary.json").read_text()) == summary
    names = {path.name for path in interrupted.out.iterdir()}
    assert {"plan.json", "summary.json", "model.onnx", "config.json", "vocab.json", "trials.sqlite"} <= names
    assert not [name for name in names if name.endswith(".part") or name in ("unverified", "float")]


@pytest.mark.parametrize("search", ["exact", "racing", "allocate"])
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_plan_to_the_byte(cli, manifest, tmp_path, search):
    def command(out):
        options = ["--data", str(manifest), "--out", str(out)]
        if search != "allocate":
            options += ["--recipe", "paper", "--gamma", "0", "--p-step", "0.25", "--search", search]
        return ["quantize", str(MODEL), *options]

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert cli(*command(whole)).code == 0
    for count in (1, 3 if search == "allocate" else 30):
        process = start([*STABLEQUANT, *command(killed)])
        wait_for(process, killed, count)
        process.send_signal(signal.SIGKILL)
        assert finish(process).code == -signal.SIGKILL
        assert not (killed / "plan.json").exists()
    before = trials(killed / "trials.sqlite")
    assert cli(*command(killed)).code == 0
    # Nothing finished was done again: a trial that was would have taken another time.
    assert before.items() <= trials(killed / "trials.sqlite").items()
    assert trials(killed / "trials.sqlite").keys() == trials(whole / "trials.sqlite").keys()
    assert (killed / "plan.json").read_bytes() == (whole / "plan.json").read_bytes()


def test_what_ends_a_run_from_outside_does_what_ctrl_c_does(cli, monkeypatch):
    """Held here for each signal; what Ctrl-C does, and one of the others, by processes of their own."""
    seen = {}
    monkeypatch.setattr(main, "app", lambda: seen.update({n: signal.getsignal(n) for n in ENDINGS}) or sys.exit(0))
    for before in (signal.SIG_DFL, signal.SIG_IGN):  # as from a terminal, and as under nohup
        own = {number: signal.signal(number, before) for number in ENDINGS}
        assert cli("inspect").code == 0
        for number, handler in own.items():
            signal.signal(number, handler)
        expected = signal.default_int_handler if before == signal.SIG_DFL else signal.SIG_IGN
        assert seen == dict.fromkeys(ENDINGS, expected)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_run_however_it_ends(manifest, tmp_path, number):
    options = ["--data", str(manifest), "--out", str(tmp_path / "out"), "--gamma", "0", "--workers", "2"]
    options += ["--set", "batch_size=1", "--p-step", "0.05", "--recipe", "paper"]
    process = start([*STABLEQUANT, "quantize", str(MODEL), *options])
    wait_for(process, tmp_path / "out", 10)
    workers = children(process.pid)
    assert len(workers) == 2
    process.send_signal(number)
    ran = finish(process, seconds=60)
    assert all_gone(workers)
    if number == signal.SIGKILL:
        assert ran.code == -signal.SIGKILL
        return
    assert ran.code == 2
    assert ran.err.splitlines()[-1] == (
        "error: the run was interrupted. Fix: run the same command again: it goes on where it was."
    )
    assert "Traceback" not in ran.err


def test_a_closed_terminal_does_not_end_a_run_under_nohup(manifest, tmp_path):
    options = ["--data", str(manifest), "--out", str(tmp_path / "out"), "--gamma", "0", "--p-step", "0.05"]
    options += ["--recipe", "paper", "--set", "batch_size=1"]
    process = start(["nohup", *STABLEQUANT, "quantize", str(MODEL), *options])
    wait_for(process, tmp_path / "out", 10)
    process.send_signal(signal.SIGHUP)
    wait_for(process, tmp_path / "out", 30)
    assert process.poll() is None
    process.kill()
    assert finish(process).code == -signal.SIGKILL


def test_a_transcription_that_is_stopped_has_written_what_was_done():
    files = [row["audio"] for row in rows(count=300)]
    options = ["--set", "batch_size=1", "--set", "batch_seconds=1"]
    process = start([*STABLEQUANT, "transcribe", str(MODEL), *files, *options])
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    # Read as it was begun: more than one line may be in the reader's buffer, past which communicate() looks.
    lines = [first, *process.stdout]
    ran = finish(process, seconds=60)
    assert ran.code == 2
    assert 0 < len(lines) < len(files)
    assert [line.split("\t")[0] for line in lines] == [shown(Path(file)) for file in files[: len(lines)]]
    assert ran.err.splitlines()[-1] == "error: the run was interrupted. Fix: run the same command again."


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C does what it does in a terminal, also where the tests themselves run in a background that ignores it."""
    own = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, own)


@pytest.mark.usefixtures("heard")
def test_a_line_that_ctrl_c_falls_into_is_written_once(cli, monkeypatch):
    """Wherever it falls: before the line is written, and after it."""
    files = [row["audio"] for row in rows(count=3)]
    for late in (False, True):
        written: list[str] = []

        def interrupting(text, *, flush=False, late=late, written=written):
            if not written and not late:
                signal.raise_signal(signal.SIGINT)
            written.append(text)
            print(text, flush=flush)
            if len(written) == 1 and late:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(console, "print", interrupting, raising=False)
        ran = cli("transcribe", MODEL, *files, "--set", "batch_size=1")
        assert ran.code == 2
        names = [line.split("\t")[0] for line in ran.out.splitlines()]
        assert names == [shown(Path(file)) for file in files[: len(names)]]


@pytest.mark.usefixtures("heard")
def test_a_second_interrupt_does_not_wait_for_the_end_of_what_is_written():
    seen = []
    with pytest.raises(KeyboardInterrupt), unbroken():
        signal.raise_signal(signal.SIGINT)
        seen.append(1)
        signal.raise_signal(signal.SIGINT)
        seen.append(2)
    assert seen == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("heard")
def test_an_interrupt_that_a_destructor_swallows_comes_again(cli, monkeypatch):
    """As soundfile's does, in whose middle Ctrl-C is lost: Python has nowhere to raise it."""

    class Closing:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def app():
        Closing()
        time.sleep(5)
        sys.exit(0)

    monkeypatch.setattr(main, "app", app)
    ran = cli("inspect")
    assert (ran.code, ran.err) == (2, "error: the run was interrupted. Fix: run the same command again.\n")
