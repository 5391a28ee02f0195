"""Fine-tuning as a command: the checkpoint that it writes is a model, and what cannot be trained on is refused first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import support
import torch
import whispers
from kin import FORMS, checkpoint

import stablequant as sq
from stablequant.data.utterance import Utterance
from stablequant.errors import DataError, ModelError, SettingsError
from stablequant.families.checkpoint import load, parameters
from stablequant.grid.block import PerBlock
from stablequant.grid.weights import PerGroup, WeightSpec
from stablequant.heads.head import Answer
from stablequant.jobs import finetune as job
from stablequant.jobs.finetune import HISTOGRAMS, REPORT, STATE, Tuning, tune
from stablequant.library.speech import SpeechSplits
from stablequant.quantize.scheme import LayerScheme
from stablequant.settings import Settings
from stablequant.training.losses import TextLabels
from stablequant.training.train import Schedule

#: The text of recordings whose text is known.
TEXT = "a bad cab"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    checkpoint(folder, FORMS["unispeech"])
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of a fifth of a second of noise, three recordings a split."""
    folder, noise = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0)
    rows = []
    for split in ("train", "dev", "test"):
        for number in range(3):
            name = f"{split}-{number}"
            soundfile.write(folder / f"{name}.wav", 0.1 * noise.standard_normal(3000 + 300 * number), 16000)
            rows.append({"id": name, "audio": f"{name}.wav", "text": TEXT, "split": split})
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_what_it_writes_is_a_checkpoint_that_says_what_came_of_it(
    cli: Any, tiny: Path, recordings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tuned"
    options = ("--bits", "w4a8", "--steps", 3, "--learning-rate", 1e-3, "--set", "batch_size=2")
    ran = cli("finetune", tiny, "--data", recordings, "--out", out, *options, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report == json.loads((out / REPORT).read_text())
    assert (report["steps"], report["utterances"], report["dev"]["utterances"]) == (3, 3, 3)
    assert report["dev"]["before"]["loss"] == pytest.approx(report["dev"]["before"]["divergence"], rel=1e-3)
    left = {path.name for path in out.iterdir()}
    assert left.isdisjoint({STATE, HISTOGRAMS, job.ASIDE, job.LOCK})
    assert {path.name for path in tiny.iterdir()} <= left
    tuned = load(out)
    assert report["checkpoint_fingerprint"] == tuned.fingerprint != report["fingerprint"]
    again = cli("finetune", tiny, "--data", recordings, "--out", out, *options)
    assert again.code == 2
    assert f"--out {out} has files that no stopped fine-tuning left there" in again.err


def test_weights_in_half_precision_are_written_in_whole_and_the_configuration_says_so(
    tiny: Path, recordings: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    half = tmp_path / "half"
    half.mkdir()
    for path in tiny.iterdir():
        (half / path.name).write_bytes(path.read_bytes())
    weights = {name: w.half() for name, w in load_file(tiny / "model.safetensors").items()}
    save_file(weights, half / "model.safetensors", {"format": "pt"})
    config = json.loads((half / "config.json").read_text())
    (half / "config.json").write_text(json.dumps(config | {"dtype": "float16"}))
    model = sq.load(str(half))
    tuned = sq.finetune(model, [str(recordings)], tmp_path / "tuned", steps=1, bits="w4a8", labels=True)
    written = load_file(tuned.folder / "model.safetensors")
    assert written.keys() == weights.keys()
    assert {written[name].dtype for name in parameters(half).names} == {torch.float32}
    assert json.loads((tuned.folder / "config.json").read_text())["dtype"] == "float32"
    assert tuned.report["loss"] == "CTC loss, a token"


def test_the_real_model_diverges_less_and_keeps_its_names_and_its_tied_table(tmp_path: Path) -> None:
    model = support.moonshine()
    speech = support.speech(("vm-nomore",))
    splits = SpeechSplits(speech, speech, speech, ("asterisk",), Settings())
    chosen = LayerScheme((PerBlock(8, 32),), WeightSpec(3, PerGroup(32), "mse"))
    layers = [op.name for op in model.ops() if ".layers.0." in op.name and op.node.kind == "linear"]
    scheme = dict.fromkeys(layers, chosen)
    tuned = sq.finetune(model, splits, tmp_path / "tuned", scheme=scheme, steps=6, learning_rate=1e-4)
    dev = tuned.report["dev"]
    assert dev["after"]["divergence"] < 0.8 * dev["before"]["divergence"], dev
    own, written = parameters(model.path), parameters(tuned.folder)
    assert written.names == own.names
    assert "proj_out.weight" not in written.values
    # In its groups the float model is the quantised one.
    layer = "model.decoder.layers.0.mlp.fc1.weight"
    groups = written.values[layer].reshape(-1, 32)
    steps = groups / (groups.abs().amax(1, keepdim=True) / 3)
    assert ((steps - steps.round()).abs() < 1e-4).all(1).float().mean() > 0.99


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"out": "source"}, SettingsError, "is the checkpoint's own folder"),
        ({"out": "a-file"}, SettingsError, "is a file"),
        ({"steps": 0}, SettingsError, "0 steps of fine-tuning"),
        ({"speech": []}, SettingsError, "No data source is given"),
        ({"bits": "w9"}, SettingsError, "setting bits is 'w9'"),
        ({"fold": "smooth"}, SettingsError, "fold=smooth for fine-tuning. Expected fold=none"),
    ],
)
def test_what_cannot_be_is_told(
    wrong: dict[str, Any], error: type[Exception], message: str, tiny: Path, recordings: Path, tmp_path: Path
) -> None:
    (tmp_path / "a-file").write_text("")
    options: dict[str, Any] = {"speech": [str(recordings)], "out": "new", "steps": 1} | wrong
    out = tiny if options["out"] == "source" else tmp_path / options["out"]
    del options["out"]
    with pytest.raises(error, match=message):
        sq.finetune(str(tiny), out=out, **options)
    assert not (tmp_path / "new").exists()


def test_labels_of_speech_without_text_and_of_adapters_are_refused(
    tiny: Path, recordings: Path, tmp_path: Path
) -> None:
    model = load(tiny)
    splits = sq.read_speech([str(recordings)], model)
    bare = splits.calibration.with_texts([None] * 3)  # type: ignore[list-item]
    tuning = Tuning(bare, splits.dev, splits.settings, Schedule(1), labels=True)
    with pytest.raises(DataError, match="has no text, which training with labels needs"):
        tune(model, tuning, tmp_path / "out")
    adapted = type(model)(**{**vars(model), "language": "fra"})
    with pytest.raises(ModelError, match="the adapters of 'fra'"):
        tune(adapted, tuning, tmp_path / "out")


@pytest.mark.parametrize("said", ["Hello there", " Hello there"])
def test_a_text_s_tokens_follow_the_model_s_own_language_and_space(said: str, tmp_path: Path) -> None:
    whispers.save(tmp_path, multilingual=True)
    model = load(tmp_path)
    head, labels = model.frontend.head, TextLabels(model)
    opening = tuple(choices[0] for choices in head.decoder.opening)
    tokens = head.tokenizer(said, add_special_tokens=False)["input_ids"]
    labels._answers["u"] = Answer(said.strip(), (*opening, *tokens))
    features = model.frontend.features([np.zeros(16000, np.float32)])
    (answer,), wanted = labels.wanted([Utterance("u", "Good day", Path("u.wav"))], features)
    written = head.tokenizer(" " * said.startswith(" ") + "Good day", add_special_tokens=False)["input_ids"]
    assert opening
    assert answer.tokens == (*opening, *written)
    assert wanted.tolist() == [*answer.tokens, head.decoder.end]
