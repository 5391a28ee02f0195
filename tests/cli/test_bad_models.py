"""Models that cannot be loaded, and plans that do not fit."""

from __future__ import annotations

import json
import shutil

import pytest
import transformers
from commands import MODEL, rows
from run_folders import list_anew
from safetensors.torch import load_file, save_file
from transformers.models.auto import modeling_auto as auto

from stablequant.families.family import FAMILIES
from stablequant.families.unsupported import UNSUPPORTED

#: Stands for the manifest that a fixture writes.
MANIFEST = object()


def failure(ran):
    """The message of a command that failed as it should."""
    assert ran.code == 2
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert ran.err.startswith("error: ")
    assert len(ran.err.splitlines()) == 1
    return ran.err


def test_an_unknown_class_is_told_with_the_known_ones(cli, changed_model):
    folder = changed_model(architectures=["BertForMaskedLM"], model_type="bert")
    message = failure(cli("inspect", folder))
    assert f"{folder / 'config.json'} names the class BertForMaskedLM. Expected one of " in message
    known = message.split("Expected one of ")[1].split(". Fix")[0].split(", ")
    assert set(known) == set(FAMILIES) > {"MoonshineForConditionalGeneration", "WavLMForCTC", "ParakeetForCTC"}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_class_that_is_not_supported_is_told_with_what_it_has(cli, changed_model, name):
    assert hasattr(transformers, name)
    message = failure(cli("inspect", changed_model(architectures=[name], model_type="other")))
    assert f"names the class {name}, which is not supported: it has {UNSUPPORTED[name]}. Expected one of " in message
    assert "Fix: use a model of one of these; docs/models.md tells what each of them has." in message


def test_every_ctc_and_transducer_class_of_transformers_is_supported_or_told_by_name():
    kinds = (auto.MODEL_FOR_CTC_MAPPING_NAMES, auto.MODEL_FOR_RNNT_MAPPING_NAMES, auto.MODEL_FOR_TDT_MAPPING_NAMES)
    classes = {name for kind in kinds for name in kind.values()}
    assert classes > {"LasrForCTC", "SEWDForCTC", "ParakeetForTDT"}
    assert classes <= FAMILIES.keys() | UNSUPPORTED.keys()


@pytest.mark.parametrize("name", ["WavLMModel", "WavLMForSequenceClassification"])
def test_a_head_without_ctc_is_told(cli, changed_model, name):
    message = failure(cli("inspect", changed_model(architectures=[name])))
    assert f"Fix: {name} has no CTC head: use a checkpoint fine-tuned for speech recognition" in message


def test_pickled_weights_are_not_opened(cli, changed_model):
    folder = changed_model(without=["model.safetensors"])
    (folder / "pytorch_model.bin").write_bytes(b"anything")
    message = failure(cli("inspect", folder))
    assert f"{folder} has no *.safetensors, only pytorch_model.bin. Expected weights as safetensors" in message
    assert "Fix: convert them with transformers: model.save_pretrained(folder)." in message


def test_missing_weights_are_listed(cli, changed_model):
    folder = changed_model(num_hidden_layers=7)
    message = failure(cli("inspect", folder))
    assert f"error: {folder}: the checkpoint lacks " in message
    assert "wavlm.encoder.layers.6.feed_forward.output_dense.weight" in message


def test_a_damaged_weight_file_is_named(cli, changed_model):
    folder = changed_model()
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])
    message = failure(cli("inspect", folder))
    assert f"{path} cannot be read" in message
    assert "Fix: download the file again." in message


@pytest.mark.parametrize("text", ["{", "[]", '{"hidden_size": 8}', "\udcff"])
def test_a_damaged_config_is_named(cli, changed_model, text):
    path = changed_model() / "config.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    assert f"error: {path} " in failure(cli("inspect", path.parent))


def test_a_config_without_a_field_is_named(cli, changed_model):
    folder = changed_model(vocab_size=None)
    assert f"{folder / 'config.json'} has no vocab_size." in failure(cli("inspect", folder))


@pytest.mark.parametrize(("tokens", "largest"), [(20, 19), (36, 35)])
def test_the_tokenizer_of_another_model_is_told_by_its_size(cli, changed_model, tokens, largest):
    folder = changed_model()
    path = folder / "vocab.json"
    vocabulary = dict(sorted(json.loads(path.read_text()).items(), key=lambda item: item[1])[:tokens])
    vocabulary |= {chr(0x430 + n): n for n in range(len(vocabulary), tokens)}
    path.write_text(json.dumps(vocabulary))
    message = failure(cli("inspect", folder))
    told = f"{folder}: the tokenizer has {tokens} tokens up to id {largest}, the model's head has 32."
    assert told in message
    assert "Fix: copy the tokenizer files of this very model." in message


@pytest.mark.parametrize("gone", ["vocab.json", "preprocessor_config.json", "tokenizer_config.json"])
def test_a_missing_processor_file_is_told(cli, changed_model, gone):
    without = [gone, "processor_config.json"] if gone.startswith("pre") else [gone]
    folder = changed_model(without=without)
    message = failure(cli("inspect", folder))
    assert f"the processor in {folder} cannot be loaded" in message
    assert "Fix: copy them from the model's page." in message


COMMANDS = (
    ("inspect",),
    ("transcribe", rows("test", 1)[0]["audio"]),
    ("evaluate", "--data", MANIFEST),
    ("quantize", "--data", MANIFEST, "--out", "out"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=[command[0] for command in COMMANDS])
def test_weights_that_are_no_numbers_are_told_by_every_command(
    cli, changed_model, manifest, tmp_path, monkeypatch, command
):
    folder = changed_model()
    weights = {key: value.clone() for key, value in load_file(folder / "model.safetensors").items()}
    name = "wavlm.encoder.layers.3.feed_forward.output_dense.weight"
    weights[name][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    arguments = [manifest if part is MANIFEST else part for part in command[1:]]
    message = failure(cli(command[0], folder, *arguments))
    assert f"{folder / 'model.safetensors'} holds NaN or infinite values in {name}. Expected finite weights." in message


def test_an_adapter_is_to_be_merged_first(cli, changed_model):
    folder = changed_model()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    message = failure(cli("inspect", folder))
    assert f"{folder / 'adapter_config.json'} is an adapter (LoRA) for the weights." in message
    assert "Fix: merge it first with peft: model.merge_and_unload().save_pretrained(folder)." in message


def test_weights_that_are_quantised_already_are_told(cli, changed_model):
    message = failure(cli("inspect", changed_model(quantization_config={"quant_method": "bitsandbytes"})))
    assert "has a quantization_config: these weights are quantised already. Expected float32, float16 or" in message


def test_a_value_that_cannot_be_is_told_with_its_field(cli, changed_model):
    folder = changed_model(num_hidden_layers=10**9)
    message = failure(cli("inspect", folder))
    assert (
        f"{folder / 'config.json'} has the num_hidden_layers 1000000000. Expected a whole number from 1 to 1,024."
        in message
    )


def test_two_ids_for_the_blank_are_told(cli, changed_model):
    folder = changed_model(pad_token_id=5)
    message = failure(cli("inspect", folder))
    assert (
        "config.json has the pad_token_id 5, the tokenizer's pad token <pad> has the id 0. Expected one id" in message
    )
    assert "Fix: if the tokenizer is this model's, set pad_token_id to 0 in config.json; else copy its own." in message


def test_a_model_without_an_id_for_the_blank_transcribes(cli, changed_model):
    audio = rows("test", 1)[0]["audio"]
    ran = cli("transcribe", changed_model(pad_token_id=None), audio)
    assert ran.code == 0, ran.err
    assert ran.out == cli("transcribe", MODEL, audio).out


@pytest.mark.parametrize("name", ["nowhere", "/no/where", "no/where", "my models/x", "models/typo", "~/no/where"])
def test_a_model_that_is_nowhere_is_told(cli, name):
    message = failure(cli("inspect", name))
    assert f"error: {name} is no" in message
    assert "a model folder or a hub id" in message


@pytest.fixture
def exported(finished, tmp_path):
    """A copy of the folder that quantize wrote, to be damaged."""
    return shutil.copytree(finished, tmp_path / "exported")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "{} is not valid JSON"),
        (lambda text: "\udcff", "{} is not valid JSON"),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 99'), "{} has schema version 99"),
        (
            lambda text: text.replace('"scale":', '"skale":', 1),
            "{}: layer wavlm.feature_extractor.conv_layers.0.conv, activations.0.scale is wrong",
        ),
    ],
)
def test_a_damaged_plan_is_named(cli, exported, manifest, damage, message):
    path = exported / "plan.json"
    path.write_text(damage(path.read_text()), encoding="utf-8", errors="surrogateescape")
    told = failure(cli("evaluate", exported, "--data", manifest, "--simulate"))
    assert f"error: {message.format(path)}" in told
    assert "Fix: run stablequant quantize again: finished trials are not repeated." in told


def test_a_plan_of_another_model_is_refused(cli, finished, changed_model, manifest):
    other = changed_model(layer_norm_eps=1e-6)
    message = failure(cli("evaluate", finished, "--data", manifest, "--simulate", "--checkpoint", other))
    assert f"the plan was made for {MODEL} (" in message
    assert "Fix: quantize this checkpoint, or give the one the plan was made from." in message


def test_a_checkpoint_that_has_moved_can_be_given(cli, exported, manifest):
    path = exported / "plan.json"
    path.write_text(path.read_text().replace(str(MODEL), "/moved/away"))
    message = failure(cli("evaluate", exported, "--data", manifest, "--simulate"))
    assert f"{path} was made from /moved/away: /moved/away is not a folder." in message
    assert "Fix: say where the float checkpoint is now with --checkpoint." in message
    ran = cli("evaluate", exported, "--data", manifest, "--simulate", "--checkpoint", MODEL, "--json")
    assert ran.code == 0, ran.err


def test_simulating_a_folder_without_a_plan_is_told(cli, manifest):
    assert f"{MODEL} has no plan.json to simulate." in failure(cli("evaluate", MODEL, "--data", manifest, "--simulate"))


def test_a_missing_int8_file_is_named(cli, exported):
    (exported / "model.onnx").unlink()
    message = failure(cli("transcribe", exported, rows("test", 1)[0]["audio"]))
    assert f"{exported / 'model.onnx'} is missing. Expected a folder written by stablequant quantize." in message


def test_a_damaged_int8_file_is_named(cli, exported):
    path = exported / "model.onnx"
    path.write_bytes(path.read_bytes()[:1000])
    message = failure(cli("transcribe", exported, rows("test", 1)[0]["audio"]))
    assert f"{path} is damaged, or of another run. Expected the file whose SHA-256 " in message
    assert "Fix: run the same stablequant quantize, or stablequant export, again." in message
    list_anew(exported)
    message = failure(cli("transcribe", exported, rows("test", 1)[0]["audio"]))
    assert f"ONNX Runtime cannot load {path}" in message
    assert "Fix: export again with stablequant quantize." in message
