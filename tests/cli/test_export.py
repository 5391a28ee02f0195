"""stablequant export: files for another runtime beside the first ones, checked, and picked when they are used."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import onnx
import pytest
from commands import MODEL, rows
from run_folders import list_anew

from stablequant.export.writer import Writer
from stablequant.grid.weights import QuantizedWeight
from stablequant.network.graph import Node
from stablequant.runtime import registry
from stablequant.runtime.processor import has_bfloat16

AUDIO = rows("test", 1)[0]["audio"]
#: Graphs of a CTC model, and of an encoder-decoder model.
CTC, SEQ2SEQ = ("model",), ("encoder", "decoder")


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    """A copy of what quantize wrote, so that other tests' files stay as they are."""
    return Path(shutil.copytree(finished, tmp_path_factory.mktemp("exported") / "out"))


@pytest.fixture(scope="module")
def with_openvino(folder):
    """The same with files for OpenVINO, as the command leaves it."""
    from stablequant.jobs.export import export

    export(folder, "openvino")
    return folder


def test_a_target_s_files_are_written_once_checked(cli, folder):
    ran = cli("export", folder, "--target", "openvino", "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["files"] == [str(folder / "model.openvino.onnx")]
    assert told["bytes"] == (folder / "model.openvino.onnx").stat().st_size
    assert 0.2 < told["bytes_ratio"] < 0.3
    assert told["runtime"].startswith("openvino 20")
    assert [c["passed"] for c in told["checks"]] == [True, True]
    assert not (folder / "unverified").exists()


def test_tensorrt_is_checked_as_far_as_it_can_be_here_and_said_so(cli, folder):
    ran = cli("export", folder, "--target", "tensorrt")
    assert ran.code == 0, ran.err
    assert "model.tensorrt.onnx" in ran.out
    assert "not run in tensorrt" in ran.out
    onnx.checker.check_model(str(folder / "model.tensorrt.onnx"), full_check=True)


def test_the_default_target_s_file_is_written_again_byte_for_byte(cli, folder):
    before = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").unlink()
    assert cli("export", folder, "--target", "onnxruntime").code == 0
    assert (folder / "model.onnx").read_bytes() == before


def test_a_runtime_can_be_forced_and_is_told(cli, with_openvino):
    texts = set()
    for runtime in ("onnxruntime", "openvino", *["openvino-bf16"] * has_bfloat16(), "torch"):
        ran = cli("transcribe", with_openvino, AUDIO, "--runtime", runtime, "--json")
        assert ran.code == 0, ran.err
        told = json.loads(ran.out)
        assert told["runtime"].startswith(runtime.removesuffix("-bf16"))
        assert ("bfloat16" in told["runtime"]) == (runtime == "openvino-bf16")
        if runtime != "openvino-bf16":  # which computes something else, and may say so
            texts.add(told["transcripts"][0]["text"])
    assert len(texts) == 1


def test_bfloat16_is_refused_where_the_processor_does_not_compute_in_it(cli, with_openvino, monkeypatch):
    monkeypatch.setattr(registry, "has_bfloat16", lambda: False)
    ran = cli("transcribe", with_openvino, AUDIO, "--runtime", "openvino-bf16")
    assert ran.code == 2
    told = "--runtime openvino-bf16, but this processor does not compute in bfloat16. Expected --runtime openvino."
    assert told in ran.err


def test_evaluate_takes_a_runtime(cli, with_openvino, manifest):
    told = json.loads(cli("evaluate", with_openvino, "--data", manifest, "--runtime", "openvino", "--json").out)
    assert told["runtime"].startswith("openvino")


def test_openvino_is_picked_where_its_kernels_are_right_its_files_there_and_it_is_installed(
    with_openvino, finished, monkeypatch, tmp_path
):
    monkeypatch.setattr(registry, "int8_overflows", lambda: False)
    assert registry.choose(with_openvino, CTC) == "openvino"
    assert registry.choose(finished, CTC) == "onnxruntime"
    for name in ("encoder", "decoder"):
        (tmp_path / f"{name}.openvino.onnx").touch()
    assert registry.choose(tmp_path, SEQ2SEQ) == "onnxruntime"  # a decoder's small steps are faster there
    monkeypatch.setattr(registry, "int8_overflows", lambda: True)
    assert registry.choose(with_openvino, CTC) == "onnxruntime"
    monkeypatch.setattr(registry, "int8_overflows", lambda: False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert registry.choose(with_openvino, CTC) == "onnxruntime"


def test_a_faster_runtime_is_advised_where_its_files_are_missing(with_openvino, finished, monkeypatch):
    monkeypatch.setattr(registry, "int8_overflows", lambda: False)
    assert f"stablequant export {finished} --target openvino" in registry.advice(finished, CTC)
    assert registry.advice(with_openvino, CTC) == ""
    assert registry.advice(finished, SEQ2SEQ) == ""
    monkeypatch.setattr(registry, "int8_overflows", lambda: True)
    assert registry.advice(finished, CTC) == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "coreml"], "--target coreml. Expected one of onnxruntime, openvino, tensorrt."),
        (["--target", "openvino", "--checkpoint", "/no/where"], "/no/where is not a folder."),
        (["--target", "openvino", "--data", "/no/where.jsonl"], "There is no /no/where.jsonl."),
    ],
)
def test_what_export_cannot_do_is_told(cli, folder, arguments, message):
    ran = cli("export", folder, *arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith(f"error: {message}")


def test_speech_that_is_gone_is_told_with_the_fix(cli, folder, tmp_path):
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    plan = json.loads((moved / "plan.json").read_text())
    plan["data"]["test"]["sources"] = [str(tmp_path / "gone.jsonl")]
    (moved / "plan.json").write_text(json.dumps(plan))
    list_anew(moved)
    ran = cli("export", moved, "--target", "openvino")
    assert ran.code == 2
    assert f"plan.json was made with speech that is not there: There is no {tmp_path / 'gone.jsonl'}." in ran.err
    assert ran.err.endswith("Fix: give other speech with --data.\n")


def test_a_runtime_without_files_or_of_another_kind_is_told(cli, finished):
    ran = cli("transcribe", finished, AUDIO, "--runtime", "openvino")
    assert ran.code == 2
    assert f"{finished / 'model.openvino.onnx'} is missing." in ran.err
    assert f"Fix: write it with stablequant export {finished} --target openvino." in ran.err
    ran = cli("transcribe", finished, AUDIO, "--runtime", "tvm")
    assert (ran.code, ran.err) == (
        2,
        "error: --runtime tvm. Expected one of onnxruntime, openvino, openvino-bf16, torch.\n",
    )
    ran = cli("transcribe", MODEL, AUDIO, "--runtime", "openvino")
    assert ran.code == 2
    assert ran.err.startswith(f"error: --runtime openvino, but {MODEL} is run by torch.")


def test_a_layout_is_written_beside_and_what_has_none_is_told(cli, folder):
    ran = cli("export", folder, "--layout", "sherpa-onnx", "--json")
    assert ran.code == 0, ran.err
    files = json.loads(ran.out)["files"]
    assert files == [str(folder / "sherpa-onnx" / name) for name in ("model.onnx", "tokens.txt")]
    assert all(Path(file).stat().st_size for file in files)
    for options, told in (
        (
            ("--layout", "onnx-asr"),
            "onnx-asr has no layout for this kind of model. Expected a Whisper of many languages.",
        ),
        (("--layout", "kaldi"), "--layout kaldi. Expected one of sherpa-onnx, onnx-asr."),
        ((), "export needs --target or --layout, one of the two."),
    ):
        ran = cli("export", folder, *options)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith(f"error: {told}")


def test_a_file_that_computes_something_else_ends_with_3_and_is_kept_aside(cli, folder, monkeypatch):
    before = (folder / "model.onnx").read_bytes()
    right = Writer.quantised_weight

    def halved(writer: Writer, node: Node) -> QuantizedWeight:
        held = right(writer, node)
        return dataclasses.replace(held, codes=held.codes // 2)

    monkeypatch.setattr(Writer, "quantised_weight", halved)
    ran = cli("export", folder, "--target", "onnxruntime")
    assert ran.code == 3
    assert "the exported file failed its check: the logits of ONNX Runtime without optimisation differ" in ran.err
    assert (folder / "unverified" / "model.onnx").is_file()
    assert (folder / "model.onnx").read_bytes() == before
    shutil.rmtree(folder / "unverified")
