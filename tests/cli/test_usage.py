"""How commands are called: settings, options, --json, and a quick --help."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from commands import MODEL, ROOT, environment, rows

from stablequant.errors import DataError
from stablequant.settings import Settings

HEAVY = ("torch", "transformers", "onnx", "onnxruntime", "numpy", "soundfile", "jiwer", "huggingface_hub")


def test_help_imports_nothing_heavy():
    code = "import sys; from stablequant.cli.main import app; app(['--help'], standalone_mode=False); "
    code += "print(*sys.modules, file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert all(name in ran.stdout for name in ("inspect", "quantize", "evaluate", "transcribe"))
    assert set(HEAVY).isdisjoint(ran.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quantise"], "No such command"),
        (["quantize", "model"], "Missing option"),
        (["quantize", "model", "--data", "d", "--out", "o", "--gamma", "much"], "Invalid value for"),
        (["evaluate", "model", "--data", "d", "--splitt", "dev"], "No such option"),
        (["transcribe", "model"], "Missing argument"),
    ],
)
def test_wrong_usage_ends_with_2_on_stderr(cli, arguments, message):
    ran = cli(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_every_wrong_setting_is_told_at_once(cli):
    wrong = ("--set", "gama=1", "--set", "p_step=0", "--set", "normalizer=strict", "--set", "gamma=nan")
    ran = cli("evaluate", MODEL, "--data", "nowhere", *wrong)
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert "setting search.p_step is '0': input should be greater than 0" in ran.err
    assert (
        "setting data.normalizer is 'strict': input should be 'auto', 'english', 'basic', 'turkish' or 'none'"
        in ran.err
    )
    assert "setting search.gamma is 'nan': input should be a finite number" in ran.err
    assert "there is no setting gama (did you mean gamma?)" in ran.err
    assert "Fix: docs/settings.md lists the settings and their values." in ran.err


def test_a_wrong_condition_is_named_with_the_list_before_anything_is_opened(cli):
    ran = cli("evaluate", "nowhere", "--data", "nowhere", "--conditions", "noise:10,wind")
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: the condition 'wind' is unknown. Expected one of clean, noise, babble, ")
    assert "Fix: conditions are clean, noise[:dB], " in ran.err


def test_an_unknown_executor_is_told(cli):
    ran = cli("quantize", MODEL, "--data", "nowhere", "--out", "out", "--executor", "slurm")
    assert ran.code == 2
    assert ran.err.startswith("error: --executor slurm. Expected local or ray.")


def test_a_setting_without_a_value_is_told(cli):
    ran = cli("evaluate", MODEL, "--data", "nowhere", "--set", "gamma")
    assert ran.code == 2
    assert ran.err == "error: --set gamma. Expected NAME=VALUE. Fix: for example --set p_step=0.05.\n"


def test_an_unknown_split_is_told(cli):
    ran = cli("evaluate", MODEL, "--data", "nowhere", "--split", "train")
    assert ran.code == 2
    assert ran.err == "error: --split train. Expected one of calibration, dev, test, all.\n"


#: Options of quantize that are settings too, with another value than the default's.
OPTIONS = {
    "gamma": ("search.gamma", 0.5),
    "p-step": ("search.p_step", 0.05),
    "p-max": ("search.p_max", 0.25),
    "p-spacing": ("search.p_spacing", "scale"),
    "search": ("search.strategy", "racing"),
    "max-drop": ("search.max_drop", 0.5),
    "language": ("data.language", "de"),
}


@pytest.mark.parametrize("given", [(), tuple(OPTIONS), *((name,) for name in OPTIONS)], ids="+".join)
def test_an_option_sets_its_setting_and_all_others_keep_their_defaults(cli, monkeypatch, given):
    seen = []

    def run(model, data, out, settings, **others):
        seen.append(settings)
        what = "far enough"
        raise DataError(what)

    monkeypatch.setattr("stablequant.jobs.quantize.quantize", run)
    options = [f"--{name}={OPTIONS[name][1]}" for name in given]
    ran = cli("quantize", MODEL, "--data", "nowhere", "--out", "nowhere", "--recipe", "paper", *options)
    assert ran.err == "error: far enough.\n"
    assert seen == [Settings().updated(**dict(OPTIONS[name] for name in given))]


@pytest.mark.parametrize(
    "command",
    [
        ("quantize", MODEL, "--data", "d", "--out", "o"),
        ("evaluate", MODEL, "--data", "d"),
        ("transcribe", MODEL, "a.wav"),
    ],
    ids=lambda command: command[0],
)
def test_a_task_is_asked_for_by_every_command_that_runs_a_model(cli, command):
    ran = cli(*command, "--task", "sing")
    assert (ran.code, ran.err) == (2, "error: --task sing. Expected transcribe or translate.\n")
    ran = cli(*command, "--language", "de", "--task", "translate")
    assert ran.code == 2
    assert "error: the task translate, but the model only transcribes." in ran.err


def test_json_is_one_object_on_stdout_for_every_command(cli, finished, manifest):
    """For quantize the fixture's own process shows it: tests/cli/test_interrupt.py."""
    audio = rows("test", 1)[0]["audio"]
    commands = [
        ("inspect", MODEL),
        ("evaluate", MODEL, "--data", manifest),
        ("evaluate", finished, "--data", manifest),
        ("transcribe", finished, audio),
    ]
    for command in commands:
        ran = cli(*command, "--json")
        assert ran.code == 0, ran.err
        assert isinstance(json.loads(ran.out), dict)


@pytest.mark.parametrize(
    "command",
    [
        ("inspect", "/no/where"),
        ("quantize", "/no/where", "--data", "d", "--out", "o"),
        ("evaluate", "/no/where", "--data", "d"),
        ("transcribe", "/no/where", "a.wav"),
    ],
)
def test_after_an_error_stdout_is_empty(cli, command):
    ran = cli(*command, "--json")
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: /no/where is not a folder.")


def test_without_json_people_get_tables(cli, finished, manifest):
    assert "48 operations to quantise" in cli("inspect", MODEL).out
    assert "WER " in cli("evaluate", finished, "--data", manifest).out
