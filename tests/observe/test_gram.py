"""Moments of what layers read: of the rows that are multiplied, without padding, shared, kept in a file, in bounded memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import support
import torch
from torch import Tensor

from stablequant.errors import DataError, ResourceError
from stablequant.families.model import SpeechModel
from stablequant.network.execute import Executor
from stablequant.observe.gram import observe_moments, shared_rows
from stablequant.observe.moments import StoredMoments, moments_once
from stablequant.quantize.simulate import Simulator

CONV = "wavlm.feature_extractor.conv_layers.1.conv"
FIRST = "wavlm.feature_extractor.conv_layers.0.conv"
QUERY = "wavlm.encoder.layers.0.attention.q_proj"
GATE = "wavlm.encoder.layers.0.attention.gru_rel_pos_linear"
#: Of unequal lengths.
SOUNDS = support.SHORT[:2]
stored = sys.modules["stablequant.observe.moments"]


def products(model: SpeechModel, layers: list[str]) -> dict[str, Tensor]:
    """What the first graph's ``layers`` give without their bias, all utterances alone, one row a frame."""
    graph = model.graphs[0]
    executor, found = Executor(graph), {name: [] for name in layers}
    for sound in support.waveforms(SOUNDS):
        values = support.feeds(model, [sound])
        for index, node in enumerate(graph.nodes):
            values = executor.run(values, start=index, stop=index + 1)
            if node.name in found:
                bias = graph.weights[node.weights["bias"]] if "bias" in node.weights else torch.tensor(0.0)
                y = values[node.outputs[0]] - bias
                found[node.name].append(y.reshape(-1, y.shape[-1]))
    return {name: torch.cat(rows) for name, rows in found.items()}


@pytest.mark.parametrize("name", ["graft", "moonshine"])
def test_they_are_of_the_rows_that_weights_are_multiplied_with(name: str) -> None:
    """With the weight they give the moments of the product, in a batch of unequal lengths as utterance by utterance."""
    model = support.MODELS[name]()
    layers = [op.name for op in model.ops() if op.graph == model.graphs[0].name and op.node.attrs.get("groups", 1) == 1]
    chosen = [n for n in layers if "layers.0" in n or "conv" in n or "layers.5" in n]
    found = observe_moments(model, [support.waveforms(SOUNDS)], chosen)
    for layer, y in products(model, chosen).items():
        w, of = model.layer_weights()[layer].flatten(1), found[layer]
        assert of.rows == len(y)
        second = y.T @ y / len(y)
        assert torch.allclose(w @ of.gram @ w.T, second, atol=1e-4 * float(second.diagonal().max()))
        assert torch.allclose(w @ of.mean, y.mean(0), atol=1e-4 * float(second.diagonal().max().sqrt()))


def test_a_decoder_is_observed_on_what_it_says_itself() -> None:
    model = support.moonshine()
    layer = "model.decoder.layers.0.self_attn.q_proj"
    answers = model.frontend.recognize(Simulator(model).backend({}), support.waveforms())
    # A row for the start of each, and one for every token, the end among them, that follows from it.
    found = observe_moments(model, [support.waveforms()], [layer])[layer]
    assert found.rows == sum(1 + len(a.tokens) for a in answers)


def test_layers_that_read_the_same_rows_share_them() -> None:
    shared = shared_rows(support.graft())
    for other in ("k_proj", "v_proj"):
        assert shared[QUERY.replace("q_proj", other)] == QUERY
    assert shared[CONV] == CONV
    assert "wavlm.encoder.pos_conv_embed.conv" not in shared  # in groups
    assert set(shared) == {op.name for op in support.graft().ops()} - {"wavlm.encoder.pos_conv_embed.conv"}
    keys = {n: f for n, f in shared_rows(support.moonshine()).items() if "encoder_attn.k" in n or "encoder_attn.v" in n}
    assert len(keys) == 12
    assert len(set(keys.values())) == 1


def test_they_are_kept_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path, seen = support.graft(), tmp_path / "moments.safetensors", []
    speech = support.speech(support.SHORT[:2], batch_size=1)
    found = moments_once(model, speech, path, lambda title, done, total: seen.append((title, done, total)))
    assert seen == [("observing the inputs of layers", n, 2) for n in range(3)]
    batches = [speech.waveforms_of(batch) for batch in speech.batches]
    direct = observe_moments(model, batches, [QUERY, FIRST])
    for layer, source in ((QUERY, QUERY), (QUERY.replace("q_proj", "v_proj"), QUERY), (FIRST, FIRST)):
        assert torch.equal(found[layer].gram, direct[source].gram)
        assert torch.equal(found[layer].mean, direct[source].mean)
        assert found[layer].rows == direct[source].rows
    assert list(found) == list(shared_rows(model))
    assert len(found) == 47
    # In several passes, with the largest matrix alone in one: the same.
    monkeypatch.setattr(stored, "MOST_BYTES", 4 * 4256**2)
    monkeypatch.setattr(stored, "SHARE", 0.0)
    before = path.read_bytes()
    path.unlink()
    moments_once(model, speech, path, lambda title, done, total: seen.append((title, done, total)))
    assert seen[-1][1] == seen[-1][2] > 2
    assert path.read_bytes() == before
    # The same speech is not run again, other speech is.
    monkeypatch.setattr(stored, "observe_moments", lambda *a: pytest.fail("observed again"))
    assert moments_once(model, speech, path).meta == found.meta
    monkeypatch.undo()
    other = moments_once(model, support.speech(support.CALIBRATION), path)
    assert other.meta != found.meta
    assert not torch.equal(other[QUERY].mean, direct[QUERY].mean)


def test_a_damaged_file_is_named_with_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "moments.safetensors"
    with pytest.raises(DataError, match="moments.safetensors cannot be read"):
        StoredMoments(path)
    whole = moments_once(support.graft(), support.speech(support.CALIBRATION[:1]), path)
    content = path.read_bytes()
    other = b'{"__metadata__":{"stablequant":"[1]"}}'.ljust(40)
    for damage in (b"", content[:1000], content[:-9], content[8:], len(other).to_bytes(8, "little") + other):
        path.write_bytes(damage)
        with pytest.raises(
            DataError, match=r"moments\.safetensors cannot be read.*Fix: remove .*observes the inputs again"
        ):
            moments_once(support.graft(), support.speech(), path)
    path.write_bytes(content[:-9])
    with pytest.raises(DataError, match=r"moments\.safetensors cannot be read"):
        whole[QUERY]  # what was whole when it was opened


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")
    with pytest.raises(ResourceError, match="moments.safetensors cannot be written"):
        moments_once(
            support.graft(), support.speech(support.CALIBRATION[:1]), tmp_path / "blocked" / "moments.safetensors"
        )
