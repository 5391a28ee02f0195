"""Whatever stands in the small files of a model, loading it works or is refused with a message."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import transformers
import whispers
from damage import damaged, fuzz
from hypothesis import event
from hypothesis import strategies as st
from support import GRAFT, MOONSHINE
from test_moonshine import OTHER
from test_wav2vec2 import NEAR, STABLE, TINY

from stablequant.errors import StablequantError
from stablequant.families.checkpoint import load
from stablequant.network.execute import Executor, TorchBackend

CTC_FILES = ("config.json", "vocab.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
DECODER_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
)
PROMPTED_FILES = ("config.json", "generation_config.json", "preprocessor_config.json")
#: A decoder's tokenizer takes longer to load.
EXAMPLES = {"ctc": 150, "decoder": 100, "prompted": 60}
SOUND = np.random.default_rng(0).normal(0, 0.1, 6000).astype(np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A tiny CTC model, a tiny encoder and decoder, both with the real models' tokenizers, and one with a prompt."""
    ctc, decoder = (tmp_path_factory.mktemp(name) for name in ("ctc", "decoder"))
    config = transformers.WavLMConfig(**TINY | STABLE | NEAR | {"vocab_size": 32})
    transformers.WavLMForCTC(config).save_pretrained(ctc)
    for name in CTC_FILES[1:]:
        shutil.copy(GRAFT / name, ctc)
    other = transformers.MoonshineConfig(**OTHER | {"vocab_size": 300})
    transformers.MoonshineForConditionalGeneration(other).save_pretrained(decoder)
    for name in DECODER_FILES[1:]:
        shutil.copy(MOONSHINE / name, decoder)
    shorten(decoder / "tokenizer.json", 300)
    prompted = tmp_path_factory.mktemp("prompted")
    whispers.save(prompted, multilingual=True)
    for folder in (ctc, decoder, prompted):
        load(folder)
    yield {"ctc": ctc, "decoder": decoder, "prompted": prompted}


def shorten(path: Path, size: int) -> None:
    """Keep the first tokens of a byte-pair tokenizer."""
    whole = json.loads(path.read_text())
    model = whole["model"]
    model["vocab"] = {token: index for token, index in model["vocab"].items() if index < size}
    model["merges"] = []
    whole["added_tokens"] = [token for token in whole["added_tokens"] if token["id"] < size]
    path.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("kind", "files"), [("ctc", CTC_FILES), ("decoder", DECODER_FILES), ("prompted", PROMPTED_FILES)]
)
def test_what_loads_transcribes_and_what_does_not_is_told(
    models: dict[str, Path], kind: str, files: tuple[str, ...]
) -> None:
    original = {name: (models[kind] / name).read_text() for name in files}

    def check(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(files))
        with TemporaryDirectory() as folder:
            path = Path(shutil.copytree(models[kind], Path(folder) / "model"))
            (path / name).write_text(data.draw(damaged(original[name])), encoding="utf-8", errors="surrogatepass")
            try:
                model = load(path)
            except StablequantError as error:
                event("refused")
                assert len(str(error)) < 3000
                assert str(path) in str(error)
                return
            event("loaded")
            backend = TorchBackend({g.name: Executor(g) for g in model.graphs})
            assert isinstance(model.frontend.recognize(backend, [SOUND])[0].text, str)

    fuzz(EXAMPLES[kind], check)
