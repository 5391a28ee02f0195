"""Files in other programs' layouts compute what ours do, fed as those programs feed them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import support
import whispers
from numpy.typing import NDArray

from stablequant.errors import ExportError
from stablequant.export.elsewhere import onnx_asr, sherpa_onnx
from stablequant.export.translate import to_onnx
from stablequant.families.checkpoint import load
from stablequant.families.frontend import Frontend
from stablequant.heads.head import Answer
from stablequant.heads.seq2seq import Seq2SeqHead
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore

#: Tokens of an answer at most: fewer than the small Whisper has positions, more than the sentences here have.
MOST = 30


def session(content: bytes) -> Any:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def own(frontend: Frontend, backend: Any, sound: NDArray[np.float32]) -> Answer:
    return frontend.recognize(backend, [sound])[0]


def test_sherpa_onnx_s_ctc_gives_the_same_letters_of_a_waveform_at_any_loudness() -> None:
    model = support.graft()
    files = sherpa_onnx(model.frontend, support.onnx_files("graft", {}))
    run = session(files["model.onnx"])
    assert [i.name for i in run.get_inputs()] == ["x"] and run.get_outputs()[0].shape[2] == 32
    names = dict(reversed(line.rsplit(" ", 1)) for line in files["tokens.txt"].decode().splitlines())
    assert names["0"] == "<blk>" and len(names) == 32
    for sound in support.waveforms():
        logits = run.run(None, {"x": 0.1 * sound[None]})[0][0]
        ids = logits.argmax(-1)
        letters = [names[str(i)] for i, before in zip(ids, [-1, *ids[:-1]], strict=True) if i != before and i != 0]
        said = own(model.frontend, Simulator(model).backend({}), sound)
        assert "".join(letters).replace("\u2581", " ").strip() == said.text


def follow(
    files: dict[str, bytes], feed: NDArray[np.float32], prompt: list[int], end: int, names: tuple[str, str]
) -> list[int]:
    """Greedy search with the merged decoder; the first past has no rows, as onnx-asr gives it."""
    encoder, decoder = session(files[names[0]]), session(files[names[1]])
    (hidden,) = encoder.run(None, {encoder.get_inputs()[0].name: feed})
    given = [i for i in decoder.get_inputs() if i.name.startswith("past_key_values.")]
    past = {i.name: np.zeros((0, i.shape[1], 0, i.shape[3]), np.float32) for i in given}
    outputs = [o.name for o in decoder.get_outputs()]
    assert [name.replace("present", "past_key_values") for name in outputs[1:]] == list(past)
    tokens: list[int] = []
    feeding, later = prompt, False
    while len(tokens) < MOST:
        feeds = {
            "input_ids": np.array([feeding]),
            "encoder_hidden_states": hidden,
            "use_cache_branch": np.array([later]),
        }
        logits, *present = decoder.run(None, feeds | past)
        past = {name: new if new.shape[0] else old for (name, old), new in zip(past.items(), present, strict=True)}
        tokens.append(int(logits[0, -1].argmax()))
        if tokens[-1] == end:
            break
        feeding, later = tokens[-1:], True
    return tokens


def test_sherpa_onnx_s_moonshine_says_the_same() -> None:
    model = support.moonshine()
    files = sherpa_onnx(model.frontend, support.onnx_files("moonshine", {}))
    words = {int(i): base64.b64decode(w) for w, i in (x.split(" ") for x in files["tokens.txt"].decode().splitlines())}
    for sound in support.waveforms()[:2]:
        said = own(model.frontend, Simulator(model).backend({}), sound)
        tokens = follow(files, sound[None], [1], 2, ("encoder.onnx", "decoder.onnx"))
        assert tuple(tokens[:-1]) == said.tokens and tokens[-1] == 2
        assert b"".join(words[t] for t in tokens[:-1]).decode().strip() == said.text


def test_onnx_asr_s_whisper_says_the_same_and_english_alone_is_refused(tmp_path: Path) -> None:
    whispers.save(tmp_path / "many", multilingual=True)
    model = load(tmp_path / "many")
    frontend = model.frontend.asked("de")
    files = onnx_asr(frontend, {g.name: to_onnx(g, {}, WeightStore.of(model)) for g in model.graphs})
    assert set(files) == {
        "encoder_model.onnx",
        "decoder_model_merged.onnx",
        "vocab.json",
        "added_tokens.json",
        "config.json",
    }
    head = frontend.head
    assert isinstance(head, Seq2SeqHead)
    mel = frontend.features([support.waveform("is-in-use")]).feeds["input_features"]
    names = ("encoder_model.onnx", "decoder_model_merged.onnx")
    tokens = follow(
        files, np.ascontiguousarray(mel.transpose(0, 2, 1)), list(head.decoder.prompt), head.decoder.end, names
    )
    backend = Simulator(model).backend({})
    outputs = frontend.encode(backend, frontend.features([support.waveform("is-in-use")]))
    # Other programs know of no suppressed tokens, so what is compared is logits' order along their own answer.
    (logits,) = head.logits(backend, outputs, [Answer("", tuple(tokens[:-1]))])
    assert logits.argmax(-1).tolist() == tokens

    whispers.save(tmp_path / "one", multilingual=False)
    english = load(tmp_path / "one")
    with pytest.raises(ExportError, match="onnx-asr has no layout for this kind of model. Expected a Whisper of many"):
        onnx_asr(english.frontend, {g.name: to_onnx(g, {}, WeightStore.of(english)) for g in english.graphs})
