"""A model with a prompt and a window, through the whole house: float files, a plan, its files in both runtimes, long audio."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
import support
import whispers

from stablequant.data import manifest
from stablequant.errors import DataError, SettingsError
from stablequant.export import package
from stablequant.export.targets import TARGETS
from stablequant.families.checkpoint import load
from stablequant.heads.head import Head
from stablequant.heads.seq2seq import Seq2SeqHead
from stablequant.jobs.evaluate import evaluate
from stablequant.jobs.export import export
from stablequant.jobs.inspect import inspect
from stablequant.jobs.open import open_model
from stablequant.jobs.quantize import quantize
from stablequant.jobs.speech import decode
from stablequant.jobs.transcribe import transcribe
from stablequant.quantize.simulate import Simulator
from stablequant.recipes import recipe
from stablequant.runtime.registry import RUNTIMES, graph_files
from stablequant.settings import Settings, Window


@pytest.fixture(scope="module", params=[False, True], ids=["english", "multilingual"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("whisper")
    whispers.save(made, multilingual=request.param)
    return made


@pytest.mark.parametrize("window", ["full", "audio"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_float_file_computes_what_pytorch_does(folder: Path, tmp_path: Path, runtime: str, window: Window) -> None:
    model = load(folder).asked(window=window)
    head, simulation = model.frontend.head, Simulator(model).backend({})
    backend = RUNTIMES[runtime](package.write_graphs(model, None, tmp_path, TARGETS[runtime]), threads=1)
    # The shortest ones do not fill the window of these models.
    for sounds in (support.waveforms(), support.waveforms()[:1], [w[:6000] for w in support.waveforms()]):
        features = model.frontend.features(sounds)
        outputs = [model.frontend.encode(b, features) for b in (simulation, backend)]
        answers = head.read(simulation, outputs[0], features.sizes)
        assert head.read(backend, outputs[1], features.sizes) == answers
        expected = head.logits(simulation, outputs[0], answers)
        for row, want in zip(head.logits(backend, outputs[1], answers), expected, strict=True):
            assert support.relative_difference(row, want) < 1e-4


def test_the_fast_recipe_makes_files_that_agree_with_the_simulation_and_are_used(tmp_path: Path) -> None:
    checkpoint = tmp_path / "model"
    whispers.save(checkpoint, multilingual=True)
    speech, out = [str(support.small_manifest(tmp_path / "speech.jsonl", 3))], tmp_path / "out"
    # Random weights recognise nothing, so what they say by chance is compared loosely, and their logits closely below.
    asked = {"language": "de", "translate": True, "tolerance": 100.0, "window": "audio"}
    evidence = quantize(str(checkpoint), speech, out, Settings.parse({**recipe("fast").settings, **asked}), force=True)
    layers = {op.name for op in evidence.model.ops()}
    assert {entry.name for entry in evidence.plan.layers} == layers and "proj_out" in layers
    kinds = {entry.name: entry.activations[0].kind for entry in evidence.plan.layers}
    assert {name for name, kind in kinds.items() if kind == "static"} == {"model.encoder.conv1", "model.encoder.conv2"}

    kinds_of = {
        g: Counter(n.op_type for n in onnx.load(graph_files(out, ("encoder", "decoder"), "onnxruntime")[g]).graph.node)
        for g in ("encoder", "decoder")
    }
    # Padded convolutions are int8 products of windows, and attention one operator wherever nothing is hidden.
    assert kinds_of["encoder"]["MultiHeadAttention"] == 2 and not kinds_of["encoder"].keys() & {"Conv", "Softmax"}
    assert kinds_of["decoder"]["MultiHeadAttention"] == kinds_of["decoder"]["Softmax"] == 1
    checks = [c for target in ("onnxruntime", "openvino") for c in export(out, target, sources=speech)["checks"]]
    assert len(checks) == 4 and all(c["passed"] for c in checks)
    assert evaluate(str(out), speech, "test")["utterances"] == 3
    # What the plan was made for is what is asked of its files, unless the user asks for something else.
    opened = open_model(out)
    german, french = (prompt_of(o.frontend.head) for o in (opened, opened.given({"language": "fr"})))
    assert german == prompt_of(evidence.model.frontend.head)
    assert len(french) == len(german) == 4 and french != german
    # So is the window: files that take the audio alone take all of it too, and others do not.
    assert opened.frontend.window == "audio" and opened.given({"window": "full"}).frontend.window == "full"
    assert opened.plan is not None
    full = opened.plan.settings.updated(window="full")
    plan = opened.plan.model_copy(update={"settings": full})
    with pytest.raises(SettingsError, match="written for whole windows alone"):
        replace(opened, plan=plan).given({"window": "audio"})


def test_a_file_tells_whether_it_takes_any_length(folder: Path, tmp_path: Path) -> None:
    model = load(folder)
    for window in ("full", "audio"):
        path = package.write_graphs(model.asked(window=window), None, tmp_path)["encoder"]
        (shape,) = [
            [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in onnx.load(path).graph.input
        ]
        assert shape[1] == (100 * whispers.SECONDS if window == "full" else "mel frames")
    assert open_model(folder).given({"window": "audio"}).frontend.window == "audio"


def test_a_shortened_window_is_batched_by_its_audio(folder: Path) -> None:
    frontend = load(folder).frontend.asked(window="audio")
    parts = {"files": support.speech().utterances}
    speech = decode(frontend, None, parts, Settings(batch_size=4, batch_seconds=2.5 * whispers.SECONDS))["files"]
    assert max(map(len, speech.batches)) > 2


def prompt_of(head: Head) -> tuple[int, ...]:
    assert isinstance(head, Seq2SeqHead)
    return head.decoder.prompt


def test_long_audio_is_cut_into_windows_and_scored_as_a_whole(folder: Path, tmp_path: Path) -> None:
    sound = np.concatenate(support.waveforms((*support.SHORT, *support.CALIBRATION)))
    assert len(sound) > 2 * whispers.SECONDS * 16000
    soundfile.write(tmp_path / "long.wav", sound, 16000)
    (row,) = transcribe(str(folder), [tmp_path / "long.wav"])["transcripts"]
    assert row["pieces"] >= 3 and "segments" not in row
    (timed,) = transcribe(str(folder), [tmp_path / "long.wav"], timestamps=True)["transcripts"]
    segments = timed["segments"]
    assert " ".join(s["text"] for s in segments).split() == timed["text"].split()
    # Each piece's times count from its own begin, the recording's from its first.
    assert segments[-1]["start"] >= len(sound) / 16000 - whispers.SECONDS
    assert all(s["start"] <= s["end"] <= len(sound) / 16000 + 0.3 for s in segments)
    with pytest.raises(SettingsError, match="the model does not tell"):
        transcribe("tests/assets/wavlm-graft", [tmp_path / "long.wav"], timestamps=True)
    rows: list[dict[str, Any]] = [{"id": "long", "audio": "long.wav", "text": "too long", "split": "test"}]
    (tmp_path / "speech.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    found = evaluate(str(folder), [str(tmp_path / "speech.jsonl")], "all")
    assert [(t["hypothesis"], t["pieces"]) for t in found["transcripts"]] == [(row["text"], row["pieces"])]
    # What is calibrated and searched on is not cut: its text would belong to no piece.
    with pytest.raises(DataError, match=r"long\.wav lasts 10\.2 s or more"):
        decode(load(folder).frontend, None, {"test": manifest.load([str(tmp_path / "speech.jsonl")])}, Settings())


def test_a_batch_holds_as_many_windows_as_its_seconds_allow(folder: Path) -> None:
    frontend = load(folder).frontend
    parts = {"files": support.speech().utterances}
    speech = decode(frontend, None, parts, Settings(batch_size=4, batch_seconds=2.5 * whispers.SECONDS))["files"]
    assert [len(batch) for batch in speech.batches] == [2, 2]
    assert [len(batch) for batch in speech.part(range(4), 4, 3.5 * whispers.SECONDS).batches] == [3, 1]
    assert max(map(len, speech.first(4).batches)) == 2


def test_inspect_lists_every_layer(folder: Path) -> None:
    found = inspect(str(folder))
    assert found["family"] == "whisper" and found["parameters_int8"] > 0.5 * found["parameters"]
    assert {row["kind"]: row["count"] for row in found["float"]}["positions"] == 2
