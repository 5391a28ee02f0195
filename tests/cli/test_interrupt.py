"""A stopped run says so, keeps what it finished, and the same command goes on from there."""

import json


def test_ctrl_c_is_one_message_and_exit_code_2(interrupted):
    assert interrupted.stopped.code == 2
    assert interrupted.stopped.out == ""
    lines = interrupted.stopped.err.splitlines()
    assert lines[-1] == ("error: the run was interrupted. Mend: run the same command again: it goes on where it was.")
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
