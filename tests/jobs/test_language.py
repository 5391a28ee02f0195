"""A model with one set of adapters a language: quantised in one, and opened in it again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import support
from kin import FORMS, Form, checkpoint
from safetensors.torch import save_file

from stablequant.families.language_adapters import PARTS
from stablequant.jobs.evaluate import evaluate
from stablequant.jobs.inspect import inspect
from stablequant.jobs.open import open_model, open_plan
from stablequant.jobs.quantize import quantize
from stablequant.quantize.plan import Plan
from stablequant.recipes import recipe
from stablequant.report.tables import inspection
from stablequant.settings import Settings


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in English whose file for French has another vocabulary, and so another head."""
    folder = tmp_path_factory.mktemp("mms")
    english = json.loads((support.GRAFT / "vocab.json").read_text())
    theirs = checkpoint(folder, Form("Wav2Vec2ForCTC", FORMS["mms"].settings | {"vocab_size": len(english)}))
    french = {**english, "é": len(english)}
    wider = checkpoint(folder / "wider", Form("Wav2Vec2ForCTC", FORMS["mms"].settings | {"vocab_size": len(french)}))
    assert theirs.config.vocab_size + 1 == wider.config.vocab_size
    own = {name: weight for name, weight in wider.state_dict().items() if PARTS.search(name)}
    save_file({name: weight.contiguous() for name, weight in own.items()}, folder / "adapter.fra.safetensors")
    shutil.rmtree(folder / "wider")
    (folder / "vocab.json").write_text(json.dumps({"eng": english, "fra": french}))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"target_lang": "eng"}))
    return folder


def test_inspect_tells_what_is_quantised_with_a_language_s_adapters(model: Path) -> None:
    own, french = inspect(str(model)), inspect(str(model), "fra")
    heads = [found["ops"][-1]["shape"][0] for found in (own, french)]
    assert (own["language"], french["language"], *heads) == (None, "fra", 32, 33)
    assert french["parameters"] > own["parameters"] and french["fingerprint"] != own["fingerprint"]
    assert ", adapters of fra), " in inspection(french) and "adapters of" not in inspection(own)


def test_the_plan_keeps_the_language_and_every_command_finds_it(model: Path, tmp_path: Path) -> None:
    speech = [str(support.small_manifest(tmp_path / "speech.jsonl", 2))]
    settings = Settings.parse({**recipe("fast").settings, "language": "fra"})
    quantize(str(model), speech, tmp_path / "run", settings, force=True)
    plan = Plan.load(tmp_path / "run" / "plan.json")
    assert plan.model.details["language"] == "fra"
    opened = open_model(tmp_path / "run")
    simulated = open_plan(tmp_path / "run")[1]
    assert opened.frontend.config["vocab_size"] == simulated.frontend.config["vocab_size"] == 33
    assert opened.frontend.processor.tokenizer.decode([32], group_tokens=False) == "é"

    def found(name: Path, given: dict[str, Any] | None = None) -> Any:
        return evaluate(str(name), speech, "all", {"max_bad_fraction": 1.0, **(given or {})})["transcripts"]

    own, french = found(model), found(model, {"language": "fra"})
    assert own != french
    assert [row["reference"] for row in own] == [row["reference"] for row in french]
