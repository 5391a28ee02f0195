"""The Whisper graphs against transformers' own module, at two sizes, and its prompts against transformers' generation."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import support
import torch
import whispers
from altered import copy, edit, refusal
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from stablequant.errors import AudioError, SettingsError
from stablequant.families.checkpoint import load, load_frontend
from stablequant.families.model import SpeechModel
from stablequant.families.whisper import SILENCE
from stablequant.heads.decoder import choosable, forced
from stablequant.heads.seq2seq import Seq2SeqHead
from stablequant.network.execute import Executor, TorchBackend

EXACT = 1e-4


@dataclass(frozen=True)
class Pair:
    """transformers' model and ours, of one folder."""

    theirs: Any
    ours: SpeechModel

    @property
    def backend(self) -> TorchBackend:
        return TorchBackend({g.name: Executor(g) for g in self.ours.graphs})

    def mel(self, sounds: list[NDArray[np.float32]]) -> Tensor:
        extract = self.ours.frontend.processor.feature_extractor
        return torch.from_numpy(np.stack([extract(w, sampling_rate=16000)["input_features"][0] for w in sounds]))

    def generated(self, sound: NDArray[np.float32], **asked: Any) -> list[int]:
        """What transformers generates, prompt and end included."""
        limit = self.ours.frontend.head.most_steps(len(sound))
        with torch.inference_mode():
            ids = self.theirs.generate(
                self.mel([sound]),
                do_sample=False,
                num_beams=1,
                max_new_tokens=limit,
                return_dict_in_generate=True,
                **asked,
            )
        found: list[int] = (ids["sequences"] if "sequences" in ids else ids)[0].tolist()
        return found


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("english")
    return Pair(whispers.save(folder, multilingual=False), load(folder))


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("multilingual")
    return Pair(whispers.save(folder, multilingual=True), load(folder))


@pytest.fixture(scope="module", params=["english", "multilingual"])
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.getfixturevalue(request.param)
    return found


def head(pair: Pair) -> Seq2SeqHead:
    found = pair.ours.frontend.head
    assert isinstance(found, Seq2SeqHead)
    return found


@pytest.mark.parametrize("count", [1, 3])
def test_encoder_and_decoder_compute_what_transformers_does(pair: Pair, count: int) -> None:
    sounds = support.waveforms()[:count]
    encoded = pair.ours.frontend.encode(pair.backend, pair.ours.frontend.features(sounds))
    rows = [(5, 9, 250, 31, 7), (8, 1, 1), (77, 3, 60, 2)][:count]
    start = (*head(pair).decoder.prompt,)
    ids = torch.full((count, len(start) + 5), head(pair).decoder.end)
    for line, row in zip(ids, rows, strict=True):
        line[: len(start) + len(row)] = torch.tensor([*start, *row])
    with torch.inference_mode():
        hidden = pair.theirs.model.encoder(pair.mel(sounds)).last_hidden_state
        for i, layer in enumerate(pair.theirs.model.decoder.layers):
            for role in ("key", "value"):
                projected = getattr(layer.encoder_attn, f"{role[0]}_proj")(hidden)
                heads = encoded[f"cross_{role}_{i}"]
                assert support.relative_difference(heads.transpose(1, 2).flatten(2), projected) < EXACT
        expected = pair.theirs(pair.mel(sounds), decoder_input_ids=ids).logits
    whole = forced(pair.backend, encoded, rows, head(pair).decoder)
    assert support.relative_difference(whole["logits"], expected[:, len(start) - 1 :]) < EXACT

    # Step by step with a cache, positions go on where the cache ends.
    past = {name: torch.zeros(count, *shape) for name, shape in _past(pair).items()}
    for step in range(ids.shape[1]):
        out = pair.backend.run("decoder", {"input_ids": ids[:, step : step + 1], **encoded, **past})
        assert support.relative_difference(out["logits"][:, 0], expected[:, step]) < EXACT
        past = {into: out[name] for name, into in head(pair).decoder.cache}


def _past(pair: Pair) -> dict[str, tuple[int, int, int]]:
    inputs = pair.ours.graph("decoder").inputs
    return {s.name: (int(s.shape[1]), 0, int(s.shape[3])) for s in inputs if "past" in s.shape}


def test_every_linear_and_convolution_is_an_operation(pair: Pair) -> None:
    modules = {name: m for name, m in pair.theirs.named_modules() if isinstance(m, nn.Linear | nn.Conv1d)}
    nodes = [(graph, node) for graph in pair.ours.graphs for node in graph.quantisable()]
    assert sorted(node.name for _, node in nodes) == sorted(modules)
    for graph, node in nodes:
        assert torch.equal(graph.weights[node.weights["weight"]], modules[node.name].weight)
        assert ("bias" in node.weights) == (modules[node.name].bias is not None)


def test_every_weight_of_the_checkpoint_is_used(pair: Pair) -> None:
    used = {key for graph in pair.ours.graphs for node in graph.nodes for key in node.weights.values()}
    assert used == set(load_file(pair.ours.path / "model.safetensors"))


def test_greedy_tokens_of_english_are_those_of_generate(english: Pair) -> None:
    sounds = support.waveforms()
    answers = english.ours.frontend.recognize(english.backend, sounds)
    prompt, end = head(english).decoder.prompt, head(english).decoder.end
    assert prompt == tuple(
        english.ours.frontend.processor.tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", "<|notimestamps|>"])
    )
    for answer, sound in zip(answers, sounds, strict=True):
        expected = english.generated(sound)
        assert [*prompt, *answer.tokens, *([] if answer.truncated else [end])] == expected
    free = replace(
        english.ours.frontend, head=replace(head(english), decoder=replace(head(english).decoder, suppressed=()))
    )
    assert [a.tokens for a in free.recognize(english.backend, sounds)] != [a.tokens for a in answers]


@pytest.mark.parametrize("task", ["transcribe", "translate"])
@pytest.mark.parametrize("language", ["de", "haw", None])
def test_greedy_tokens_of_a_language_and_task_are_those_of_generate(
    multilingual: Pair, language: str | None, task: str
) -> None:
    asked = multilingual.ours.asked(language, translate=task == "translate")
    pair = Pair(multilingual.theirs, asked)
    sounds = support.waveforms()
    answers = asked.frontend.recognize(pair.backend, sounds)
    decoder = head(pair).decoder
    for answer, sound in zip(answers, sounds, strict=True):
        end = [] if answer.truncated else [decoder.end]
        expected = multilingual.generated(sound, language=language or _heard(pair, answer.tokens[0]), task=task)
        whole = [*decoder.prompt, *answer.tokens, *end]
        assert len(decoder.prompt) + len(decoder.opening) == 4
        assert whole == expected[: len(whole)]
        if language is None:
            mel = multilingual.mel([sound])
            assert multilingual.theirs.detect_language(mel).tolist() == [answer.tokens[0]]


def _heard(pair: Pair, token: int) -> str:
    requests = head(pair).requests
    assert requests is not None
    return next(code for code, number in requests.languages.items() if number == token)


def test_tokens_with_timestamps_are_those_of_generate_and_other_models_tell_none(english: Pair) -> None:
    config = english.theirs.generation_config
    plain = list(config.suppress_tokens)
    zero = config.no_timestamps_token_id + 1
    suppressed = [token for token in plain if token < zero]
    timed = head(english).timed()
    timed = replace(timed, decoder=replace(timed.decoder, suppressed=tuple(suppressed)))
    frontend, sounds = replace(english.ours.frontend, head=timed), support.waveforms()
    answers = frontend.recognize(english.backend, sounds)
    config.suppress_tokens = suppressed
    try:
        for answer, sound in zip(answers, sounds, strict=True):
            expected = english.generated(sound, return_timestamps=True)
            # What transformers goes on with, behind the last time, is another segment.
            assert tuple(expected[: len(answer.tokens)]) == answer.tokens
            assert answer.tokens[0] >= zero and answer.segments
    finally:
        config.suppress_tokens = plain
    for other in (support.moonshine(), support.graft()):
        with pytest.raises(SettingsError, match="timestamps, which the model does not tell"):
            other.frontend.timed()


def test_drafts_change_nothing_and_teacher_forced_logits_choose_the_answer(multilingual: Pair) -> None:
    frontend, backend = multilingual.ours.frontend, multilingual.backend
    sounds = support.waveforms()
    features = frontend.features(sounds)
    outputs = frontend.encode(backend, features)
    answers = frontend.head.read(backend, outputs, features.sizes)
    drafts = [answers[1].tokens, answers[1].tokens, answers[2].tokens[:9], ()]
    assert frontend.head.read(backend, outputs, features.sizes, drafts) == answers
    decoder = head(multilingual).decoder
    for row, answer in zip(frontend.head.logits(backend, outputs, answers), answers, strict=True):
        (allowed,) = choosable(row[None], 0, decoder)
        chosen = tuple(allowed.argmax(-1).tolist())
        assert chosen[: len(answer.tokens)] == answer.tokens
        assert answer.truncated or chosen[-1] == decoder.end
        assert np.isfinite(row).all()


def test_what_a_model_cannot_be_asked_for_is_told(english: Pair, multilingual: Pair) -> None:
    assert english.ours.asked("en-GB") is english.ours
    with pytest.raises(SettingsError, match="knows English alone"):
        english.ours.asked("de")
    with pytest.raises(SettingsError, match="only transcribes"):
        english.ours.asked(translate=True)
    with pytest.raises(SettingsError, match="one of de, en, fr, haw"):
        multilingual.ours.asked("ja")
    for other in (support.moonshine(), support.graft()):
        assert other.asked("de") is other
        with pytest.raises(SettingsError, match="only transcribes"):
            other.asked(translate=True)


def test_what_is_asked_for_is_part_of_what_results_are_kept_under(multilingual: Pair) -> None:
    plain, german = multilingual.ours, multilingual.ours.asked("de")
    assert plain.processor_fingerprint != german.processor_fingerprint
    assert german.asked().processor_fingerprint != german.processor_fingerprint
    assert plain.asked() is plain


def test_a_language_that_the_checkpoint_names_is_heard_unless_another_is_asked_for(
    multilingual: Pair, tmp_path: Path
) -> None:
    known = multilingual.ours.frontend.processor.tokenizer.get_vocab()
    for number, named in enumerate(
        ({"language": "german"}, {"language": "<|de|>"}, {"forced_decoder_ids": [[1, known["<|de|>"]]]})
    ):
        folder = edit(copy(tmp_path / str(number), multilingual.ours.path) / "generation_config.json", **named)
        frontend = load_frontend(folder)
        assert frontend.head == replace(
            multilingual.ours.asked("de").frontend.head,
            tokenizer=frontend.processor.tokenizer,
            requests=frontend.head.requests,
        )
        assert frontend.asked("fr").head.decoder.prompt[1] == known["<|fr|>"]


def test_languages_and_tasks_are_found_in_the_tokenizer_where_an_older_file_has_none(
    multilingual: Pair, tmp_path: Path
) -> None:
    folder = copy(tmp_path / "older", multilingual.ours.path)
    edit(folder / "generation_config.json", "lang_to_id", "task_to_id", "no_timestamps_token_id")
    frontend = load_frontend(folder)
    assert frontend.head.requests == head(multilingual).requests
    assert frontend.head.decoder.prompt == head(multilingual).decoder.prompt


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("suppress_tokens", [3, 9999], "suppress_tokens"),
        ("begin_suppress_tokens", 7, "begin_suppress_tokens"),
        ("lang_to_id", ["en"], "lang_to_id"),
        ("task_to_id", {"translate": "x"}, "task_to_id"),
        ("no_timestamps_token_id", -1, "no_timestamps_token_id"),
    ],
)
def test_an_impossible_id_is_named_with_its_file(
    multilingual: Pair, tmp_path: Path, key: str, value: Any, said: str
) -> None:
    folder = edit(copy(tmp_path / "model", multilingual.ours.path) / "generation_config.json", **{key: value})
    message = refusal(folder)
    assert "generation_config.json" in message and said in message


def test_a_feature_extractor_of_another_model_is_refused(english: Pair, multilingual: Pair, tmp_path: Path) -> None:
    folder = copy(tmp_path / "mels", english.ours.path)
    name = "preprocessor_config.json"
    (folder / name).write_text((multilingual.ours.path / name).read_text())
    assert "feature_size 128" in refusal(folder)
    folder = edit(copy(tmp_path / "window", english.ours.path) / name, chunk_length=5)
    assert "500 frames" in refusal(folder)


def test_a_recording_beyond_the_window_is_never_cut_short_in_silence(english: Pair) -> None:
    bounds = english.ours.frontend.bounds
    assert bounds.window == bounds.longest == whispers.SECONDS
    with pytest.raises(AudioError, match="at most 3 s"):
        english.ours.frontend.features([np.zeros(whispers.SECONDS * 16000 + 1, np.float32)])


def test_a_shortened_window_is_the_begin_of_the_whole_one(pair: Pair) -> None:
    whole, short = pair.ours.frontend, pair.ours.asked(window="audio").frontend
    sounds = [w[: i * 1500] for i, w in enumerate(support.waveforms(), 2)]
    for batch in (sounds, sounds[:1]):
        found, expected = (f.features(batch).feeds["input_features"] for f in (short, whole))
        seconds = max(map(len, batch)) / 16000
        assert found.shape[1] == 50 * math.ceil(2 * (seconds + SILENCE)) < expected.shape[1]
        assert np.array_equal(found, expected[:, : found.shape[1]])
    almost = np.zeros(whispers.SECONDS * 16000 - 1, np.float32)
    assert short.features([almost]).feeds["input_features"].shape == expected[:1].shape
    assert short.bounds.padded == 0 and short.bounds.longest == whole.bounds.padded == whispers.SECONDS
    assert pair.ours.asked(window="audio").processor_fingerprint != pair.ours.processor_fingerprint
    with pytest.raises(SettingsError, match="no more than the audio anyway"):
        support.moonshine().asked(window="audio")


def test_float16_weights_are_widened(english: Pair, tmp_path: Path) -> None:
    english.theirs.half().save_pretrained(tmp_path)
    english.theirs.float()
    for path in english.ours.path.iterdir():
        if not (tmp_path / path.name).exists():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float16"
    found = load(tmp_path)
    assert {w.dtype for graph in found.graphs for w in graph.weights.values()} == {torch.float32}
