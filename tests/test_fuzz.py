"""Whatever stands in its files and arguments, a command ends with a right result or with one message, never a traceback.

Each example damages one input of a real command line, run in this process on the small model or on a real run's folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from commands import Ran
from damage import damaged, fuzz
from hypothesis import event
from hypothesis import strategies as st
from support import GRAFT, SPEECH

from stablequant.settings import NAMES

#: What a setting or a number among the options is given.
TEXTS = [
    "",
    "0",
    "-1",
    "1",
    "1e-12",
    "1e308",
    "-1e308",
    "nan",
    "inf",
    "9" * 30,
    "9" * 5000,
    "0x10",
    "true",
    "none",
    "mse",
]
TEXTS += ["null", "[]", "{}", "\ud800", "\x1b[2J", "x" * 10_000, "1,2", "=", " 1", "1.0", "0.5", "٣"]


Cli = Callable[..., Ran]


class Origin(NamedTuple):
    """A finished run, one of its recordings, and what its int8 file hears there."""

    folder: Path
    audio: Path
    text: str


@pytest.fixture
def origin(evidence: Any, cli: Cli) -> Origin:
    folder, audio = evidence.job.out, SPEECH / "audio" / "digits__billion.flac"
    ran = cli("transcribe", folder, audio, "--json")
    return Origin(folder, audio, json.loads(ran.out)["transcripts"][0]["text"])


def told(ran: Ran, *names: str) -> bool:
    """Whether an input was refused, and rightly: one message, which names what is wrong, and nothing on stdout."""
    if ran.code == 0:
        return False
    assert ran.code in (2, 3), ran
    assert ran.out == ""
    assert "Traceback" not in ran.err
    message = ran.err[max(ran.err.find("error: "), ran.err.find("Usage: ")) :]
    assert message.startswith(("error: ", "Usage: ")), ran.err
    assert message.count("error: ") <= 1 or "Usage: " not in message
    assert len(message) < 4000, message
    assert not names or any(name in message for name in names), message
    return True


def write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # it may be a link
    path.write_text(text, encoding="utf-8", errors="surrogatepass")


def copied(origin: Path, folder: str) -> Path:
    """A folder of links to the files of ``origin``."""
    copy = Path(folder) / "copy"
    copy.mkdir()
    for path in origin.iterdir():
        (copy / path.name).symlink_to(path)
    return copy


def sign(folder: Path) -> None:
    """Make the manifest list the files as they are now."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    for name in content["files"]:
        data = (folder / name).read_bytes()
        content["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    content["plan"] = content["files"]["plan.json"]["sha256"]
    write(path, json.dumps(content))


def test_manifests_of_speech(cli: Cli, origin: Origin) -> None:
    """A manifest's line is used or refused; the reading of speech has examples of its own (data/test_manifest_fuzz.py)."""
    line = {"id": "a", "audio": str(origin.audio), "text": "billion", "speaker": "s", "split": "test", "duration": 1.0}

    def check(data: st.DataObject) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "speech.jsonl"
            write(path, data.draw(damaged(json.dumps(line))) + "\n")
            ran = cli("evaluate", origin.folder, "--data", path, "--split", "all", "--json")
            refused = told(ran, str(path), "recordings cannot be used", "reference", "no utterance")
            event("manifest refused" if refused else "manifest used")
            if not refused:
                assert json.loads(ran.out)["transcripts"][0]["hypothesis"] == origin.text

    fuzz(60, check)


def test_config_json(cli: Cli) -> None:
    text = (GRAFT / "config.json").read_text()

    def check(data: st.DataObject) -> None:
        with TemporaryDirectory() as folder:
            model = copied(GRAFT, folder)
            write(model / "config.json", data.draw(damaged(text)))
            ran = cli("inspect", model, "--json")
            refused = told(ran, str(model))
            event("config.json refused" if refused else "config.json used")
            assert refused or isinstance(json.loads(ran.out), dict)

    fuzz(60, check)


@pytest.mark.parametrize("name", ["plan.json", "manifest.json"])
def test_files_of_a_run(cli: Cli, origin: Origin, name: str) -> None:
    """A run's small files: what is no longer what the run wrote is refused by its name."""
    text = (origin.folder / name).read_text()

    def check(data: st.DataObject) -> None:
        with TemporaryDirectory() as folder:
            copy = copied(origin.folder, folder)
            changed = data.draw(damaged(text))
            write(copy / name, changed)
            ran = cli("transcribe", copy, origin.audio, "--json")
            refused = told(ran, str(copy))
            event(f"{name} refused" if refused else f"{name} used")
            assert refused or json.loads(ran.out)["transcripts"][0]["text"] == origin.text

    fuzz(50, check)


def test_a_plan_that_its_manifest_lists(cli: Cli, origin: Origin) -> None:
    """The plan itself is what is read: in simulation each grid counts."""
    text = (origin.folder / "plan.json").read_text()

    def check(data: st.DataObject) -> None:
        with TemporaryDirectory() as folder:
            copy = copied(origin.folder, folder)
            write(copy / "plan.json", data.draw(damaged(text)))
            sign(copy)
            line = json.dumps({"audio": str(origin.audio), "text": "billion"})
            write(Path(folder) / "speech.jsonl", line)
            given_data = ("--data", Path(folder) / "speech.jsonl", "--split", "all")
            ran = cli("evaluate", copy, *given_data, "--simulate", "--checkpoint", GRAFT, "--json")
            refused = told(ran, str(copy), "the plan")
            event("plan.json, listed, refused" if refused else "plan.json, listed, used")
            assert refused or isinstance(json.loads(ran.out)["rate"], float)

    fuzz(50, check)


def test_onnx_files(cli: Cli, origin: Origin) -> None:
    """An int8 file with bits flipped, cut short or of something else is refused before it is run."""
    original = (origin.folder / "model.onnx").read_bytes()

    def check(data: st.DataObject) -> None:
        changed = bytearray(original)
        kind = data.draw(st.sampled_from(["flip", "cut", "longer"]))
        at = data.draw(st.integers(0, len(original) - 1))
        if kind == "flip":
            changed[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del changed[at:]
        else:
            changed += b"\0" * (at % 100 + 1)
        with TemporaryDirectory() as folder:
            copy = copied(origin.folder, folder)
            (copy / "model.onnx").unlink()
            (copy / "model.onnx").write_bytes(changed)
            assert told(cli("transcribe", copy, origin.audio, "--json"), str(copy / "model.onnx"))
            event("ONNX file refused")

    fuzz(25, check)


@pytest.mark.parametrize("file", ["empty", "cut", "text", "other inputs", "other outputs"])
def test_an_onnx_file_that_its_manifest_lists(cli: Cli, origin: Origin, tmp_path: Path, file: str) -> None:
    """Nothing but the runtime can tell then, and what it says is told with the file."""
    import onnx

    copy = copied(origin.folder, str(tmp_path))
    model = onnx.load(origin.folder / "model.onnx")
    if file.startswith("other"):
        names = model.graph.input if file == "other inputs" else model.graph.output
        old, new = names[0].name, "something_else"
        for node in model.graph.node:
            for list_ in (node.input, node.output):
                for index, name in enumerate(list_):
                    list_[index] = new if name == old else name
        names[0].name = new
    whole = model.SerializeToString()
    content = {"empty": b"", "cut": whole[: len(whole) // 2], "text": b"int8" * 100}.get(file, whole)
    (copy / "model.onnx").unlink()
    (copy / "model.onnx").write_bytes(content)
    sign(copy)
    assert told(cli("transcribe", copy, origin.audio, "--json"), str(copy / "model.onnx"))


def test_settings(cli: Cli, origin: Origin) -> None:
    """Any value of any setting is used, or refused by the setting's name."""

    def check(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([*NAMES, "bits", "nothing", "", "search", "a.b.c", "\ud800"]))
        value = data.draw(st.sampled_from(TEXTS))
        ran = cli("transcribe", origin.folder, origin.audio, "--json", "--set", f"{name}={value}")
        # A group, and settings that are wrong together, name settings inside.
        refused = told(ran, name.split(".")[-1] if name != "\ud800" else "ud800", "p_step")
        event("setting refused" if refused else "setting used")
        assert refused or json.loads(ran.out)["transcripts"][0]["text"] == origin.text

    fuzz(120, check)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["transcribe", "M", "A", "--set", "p_step=1e-12"], "p_step"),
        (["transcribe", "M", "A", "--set", "p_step=1e-320"], "p_step"),
        (["transcribe", "M", "A", "--set", "seed=-1"], "data.seed"),
        (["transcribe", "M", "A", "--set", "batch_seconds=1e308"], "data.batch_seconds"),
        (["transcribe", "M", "A", "--threads", "-1"], "--threads"),
        (["transcribe", "M", "A", "--threads", "9" * 30], "--threads"),
        (["quantize", "M", "--data", "D", "--out", "O", "--workers", "0"], "--workers"),
        (["quantize", "M", "--data", "D", "--out", "O", "--workers", "9" * 9], "--workers"),
        (["benchmark", "M", "--rounds", "0"], "--rounds"),
        (["benchmark", "M", "--seconds", "1e300"], "--seconds"),
        (["benchmark", "M", "--batch", "9" * 12], "--batch"),
        (["benchmark", "M", "--threads", "9" * 5000], "--threads"),
        (["inspect", "\0"], "is not a folder"),
        (["inspect", "\ud800"], "is not a folder"),
        (["trials", "\ud800"], "ud800"),
    ],
)
def test_numbers_and_names_beyond_reason_are_named(cli: Cli, arguments: list[str], named: str) -> None:
    ran = cli(*arguments)
    assert ran.code == 2
    assert told(ran, named)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"scale": 0.0}, "scale 0.0 cannot be used"),
        ({"zero_point": 1000}, "zero point 1000 is not a 8-bit code"),
        ({"bits": 99}, "bits=99 is not supported"),
        ({"planes": 3}, "activations.0.planes"),
        ({"scale": None}, "activations.0.scale"),
    ],
)
def test_a_refused_plan_names_file_layer_and_field(
    cli: Cli, origin: Origin, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    copy = copied(origin.folder, str(tmp_path))
    plan = json.loads((copy / "plan.json").read_text())
    layer = next(layer for layer in plan["layers"] if layer["activations"])
    layer["activations"][0] |= change
    write(copy / "plan.json", json.dumps(plan))
    ran = cli("transcribe", copy, origin.audio)
    assert ran.code == 2
    assert f"{copy / 'plan.json'}: layer {layer['name']}, activations.0" in ran.err
    assert named in ran.err


@pytest.mark.parametrize("name", ["../plan.json", "/etc/passwd", "", "..", "a/b"])
def test_a_manifest_names_files_of_its_own_folder_alone(cli: Cli, origin: Origin, tmp_path: Path, name: str) -> None:
    copy = copied(origin.folder, str(tmp_path))
    content = json.loads((copy / "manifest.json").read_text())
    content["files"][name] = {"sha256": "0", "bytes": 0}
    write(copy / "manifest.json", json.dumps(content))
    ran = cli("transcribe", copy, origin.audio)
    assert ran.code == 2
    assert f"{name!r} is no file name" in ran.err
