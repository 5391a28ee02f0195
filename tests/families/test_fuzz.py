"""Whatever stands in the small files of a model, loading it works or is refused with a message."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import transformers
import whispers
from hypothesis import HealthCheck, event, given, settings
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
EVERY = list(HealthCheck)
SOUND = np.random.default_rng(0).normal(0, 0.1, 6000).astype(np.float32)

NESTED: Any = []
for _ in range(200):
    NESTED = [NESTED]

#: Values that some code takes for what they are not.
VALUES: list[Any] = [None, True, False, 0, 1, -1, 2, 3, 7, 31, 32, 10**9, 10**30, -(10**30), 0.0, 0.5, -1.5, 1e300]
VALUES += ["", "0", "false", "gelu", "<pad>", "|", "\0", "x" * 10_000, "\ud800", float("nan"), float("inf"), NESTED]
VALUES += [[], [0], [1, 2], [None], ["a"], {}, {"a": 1}, {"content": "x"}, {"": {}}, [[1]], {"0": {"content": "E"}}]
#: What one character of a file is replaced with.
SCRAPS = ["", "}", "[" * 2000, "9" * 5000, "\ufeff", "\0", '"a":1,', "-"]


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


def holders(value: Any) -> Iterator[Any]:
    """Every object and list in a JSON value."""
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from holders(item)


@st.composite
def damage(draw: st.DrawFn, text: str) -> str:
    """The text of a JSON file with values changed, added or gone; or cut or flipped anywhere."""
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(text)))
        return text[:at] + draw(st.sampled_from(SCRAPS)) + text[at + 1 :]
    value = json.loads(text)
    for _ in range(draw(st.integers(1, 2))):
        # An index, not the holder itself: what hypothesis draws must print shortly.
        found = [holder for holder in holders(value) if holder]
        holder = found[draw(st.integers(0, min(len(found), 60) - 1))]
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = keys[draw(st.integers(0, len(keys) - 1))]
        if draw(st.integers(0, 5)) == 0:
            del holder[key]
        else:
            holder[key] = deepcopy(draw(st.sampled_from(VALUES)))
    return json.dumps(value)


@pytest.mark.parametrize(
    ("kind", "files"), [("ctc", CTC_FILES), ("decoder", DECODER_FILES), ("prompted", PROMPTED_FILES)]
)
def test_what_loads_transcribes_and_what_does_not_is_told(
    models: dict[str, Path], kind: str, files: tuple[str, ...]
) -> None:
    original = {name: (models[kind] / name).read_text() for name in files}

    @settings(max_examples=EXAMPLES[kind], derandomize=True, deadline=None, database=None, suppress_health_check=EVERY)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(files))
        with TemporaryDirectory() as folder:
            path = Path(shutil.copytree(models[kind], Path(folder) / "model"))
            (path / name).write_text(data.draw(damage(original[name])), encoding="utf-8", errors="surrogatepass")
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

    check()
