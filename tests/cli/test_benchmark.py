"""stablequant benchmark: every runtime with int8 beside float, case by case, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stablequant.runtime.processor import has_bfloat16

QUICK = ("--seconds", "1.5,real", "--batch", "2", "--threads", "1", "--rounds", "2")


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    """What quantize wrote, with files for OpenVINO as well."""
    from stablequant.jobs.export import export

    copy = Path(shutil.copytree(finished, tmp_path_factory.mktemp("benchmark") / "out"))
    export(copy, "openvino")
    return copy


def test_every_runtime_is_timed_int8_beside_float(cli, folder, tmp_path):
    ran = cli("benchmark", folder, *QUICK, "--plot", tmp_path / "speeds.svg", "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    systems = {s["name"]: s for s in told["systems"]}
    half = ["bfloat16, openvino"] * has_bfloat16(), ["out, openvino-bf16"] * has_bfloat16()
    floats = ["float32, onnxruntime", "float32, openvino", *half[0]]
    assert list(systems) == [*floats, "out, onnxruntime", "out, openvino", *half[1]]
    assert all(s["int8"] == (s["name"] not in floats) for s in told["systems"])
    assert systems["out, onnxruntime"]["bytes"] == (folder / "model.onnx").stat().st_size
    assert systems["out, onnxruntime"]["bytes"] < 0.27 * systems["float32, onnxruntime"]["bytes"]
    for s in told["systems"]:
        assert s["load_seconds"] > 0
        assert s["peak_rss_bytes"] > s["idle_rss_bytes"] > 0
        assert s["runtime"].startswith(s["name"].split(", ")[1].removesuffix("-bf16"))
        assert ("bfloat16" in s["runtime"]) == (s["name"] in (*half[0], *half[1]))
    assert set(told["machine"]) == {"cpu", "cores", "features"}

    fixed, real = told["cases"]
    assert (fixed["seconds"], real["seconds"]) == (1.5, "real")
    assert fixed["audio_seconds"] == 3.0  # two of 1.5 s
    for case in told["cases"]:
        assert (case["batch"], case["threads"], case["decoder_steps"]) == (2, 1, 0)  # CTC
        times = {s["name"]: s["seconds"] for s in case["systems"]}
        assert list(times) == list(systems)
        assert case["best_float"] == min(("float32, onnxruntime", "float32, openvino"), key=times.__getitem__)
        for s in case["systems"]:
            assert s["fastest"] <= s["seconds"] <= s["slowest"]
            assert s["speedup"] == pytest.approx(times[case["best_float"]] / s["seconds"], rel=1e-2)
            assert s["real_time_factor"] == pytest.approx(s["seconds"] / case["audio_seconds"], rel=1e-2)
    assert (tmp_path / "speeds.svg").read_text().startswith("<svg")


def test_people_get_tables(cli, folder):
    ran = cli("benchmark", folder, "--seconds", "1", "--batch", "1", "--threads", "1", "--rounds", "1")
    assert ran.code == 0, ran.err
    for words in ("float32, openvino", "out, onnxruntime", "RTF", "peak MB", "medians of 1 rounds"):
        assert words in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seconds", "2,long"], "--seconds long. Expected numbers above 0 and at most 86,400, split by commas."),
        (["--batch", "0"], "--batch 0. Expected whole numbers above 0 and at most 10,000, split by commas."),
        (["--threads", "1.5"], "--threads 1.5. Expected whole numbers above 0 and at most 1,024, split by commas."),
        (["--against", "/no/where"], "/no/where is not a folder."),
    ],
)
def test_what_cannot_be_measured_is_told(cli, folder, arguments, message):
    ran = cli("benchmark", folder, *arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith(f"error: {message}")


def test_folders_of_two_checkpoints_are_refused(cli, folder, changed_model, tmp_path):
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    model = changed_model(layer_norm_eps=1e-4)
    from stablequant.families.checkpoint import fingerprint

    plan = json.loads((other / "plan.json").read_text())
    plan["model"] |= {"name": str(model), "fingerprint": fingerprint(model)}
    (other / "plan.json").write_text(json.dumps(plan))
    ran = cli("benchmark", folder, other)
    assert ran.code == 2
    assert "were made from different checkpoints. Expected folders of one checkpoint." in ran.err
