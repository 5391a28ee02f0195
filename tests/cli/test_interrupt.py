"""A stopped run says so, keeps what it finished, and the same command goes on from there."""

import json
import signal
import sys
import time

import pytest
from commands import MODEL, all_gone, children, finish, start, trials


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
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_plan_to_the_byte(manifest, tmp_path, search):
    def command(out):
        options = ["--data", str(manifest), "--out", str(out)]
        if search != "allocate":
            options += ["--recipe", "paper", "--gamma", "0", "--p-step", "0.25", "--search", search]
        return [sys.executable, "-m", "stablequant.cli.main", "quantize", str(MODEL), *options]

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert finish(start(command(whole))).code == 0
    for count in (1, 3 if search == "allocate" else 30):
        process = start(command(killed))
        while process.poll() is None and len(trials(killed / "trials.sqlite")) < count:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert finish(process).code == -signal.SIGKILL
        assert not (killed / "plan.json").exists()
    before = trials(killed / "trials.sqlite")
    assert finish(start(command(killed))).code == 0
    # Nothing finished was done again: a trial that was would have taken another time.
    assert before.items() <= trials(killed / "trials.sqlite").items()
    assert trials(killed / "trials.sqlite").keys() == trials(whole / "trials.sqlite").keys()
    assert (killed / "plan.json").read_bytes() == (whole / "plan.json").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_run_however_it_ends(manifest, tmp_path, number):
    options = ["--data", str(manifest), "--out", str(tmp_path / "out"), "--gamma", "0", "--workers", "2"]
    options += ["--set", "batch_size=1", "--p-step", "0.05", "--recipe", "paper"]
    process = start([sys.executable, "-m", "stablequant.cli.main", "quantize", str(MODEL), *options])
    while process.poll() is None and len(trials(tmp_path / "out" / "trials.sqlite")) < 10:
        time.sleep(0.02)
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
    options = ["--data", str(manifest), "--out", str(tmp_path / "out"), "--gamma", "0", "--p-step", "0.25"]
    options += ["--recipe", "paper"]
    command = ["nohup", sys.executable, "-m", "stablequant.cli.main", "quantize", str(MODEL), *options, "--json"]
    process = start(command)
    while process.poll() is None and len(trials(tmp_path / "out" / "trials.sqlite")) < 10:
        time.sleep(0.02)
    process.send_signal(signal.SIGHUP)
    ran = finish(process, seconds=240)
    assert ran.code == 0, ran.err
