"""Training: it makes the loss small, goes on where it was stopped, and what is written is what was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import support
import torch
from kin import FORMS, checkpoint
from torch import Tensor

from stablequant.data.speech import Speech
from stablequant.data.utterance import Utterance
from stablequant.errors import DataError, ModelError, SettingsError
from stablequant.families.checkpoint import load, parameters
from stablequant.families.model import SpeechModel
from stablequant.families.parameters import Parameters
from stablequant.grid.frame import PerFrame
from stablequant.grid.weights import PerGroup, WeightSpec
from stablequant.network.step_numbers import StepNumbers
from stablequant.quantize.scheme import LayerScheme, in_rows
from stablequant.quantize.simulate import Simulator
from stablequant.training import train as training
from stablequant.training.losses import Distillation, loss_of
from stablequant.training.student import Student, to_nearest
from stablequant.training.train import Schedule, Trained, mean_loss, train

#: One of each family, and of each thing that is folded when a checkpoint is loaded: norms of weights and batches, factors.
FAMILIES = ("unispeech", "mms", "data2vec-larger", "sew", "conformer-relative", "bert", "parakeet")


def scheme(model: SpeechModel, bits: int = 4) -> dict[str, LayerScheme]:
    """A scale a frame, and weights of so many bits."""
    spec = WeightSpec(bits, PerGroup(16), "mse") if bits < 8 else WeightSpec(bits)
    return {op.name: LayerScheme((PerFrame(8),), spec) for op in model.ops() if in_rows(op.node)}


@dataclass(frozen=True)
class Small:
    """A model with random weights, and what it is trained on."""

    model: SpeechModel
    own: Parameters
    speech: Speech

    def student(self, bits: int = 4) -> Student:
        return Student(self.model.frontend, self.own, scheme(self.model, bits))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("small")
    checkpoint(folder, FORMS["unispeech"])
    noise = np.random.default_rng(0)
    sounds = tuple(noise.standard_normal(n).astype(np.float32) for n in (2000, 1800, 1900, 1500))
    utterances = tuple(Utterance(f"u{i}", "a bad cab", Path(f"u{i}.wav")) for i in range(len(sounds)))
    speech = Speech(utterances, sounds, 16000, ((0, 2), (1, 3)), ())
    return Small(load(folder), parameters(folder), speech)


def test_the_rate_rises_in_a_line_and_falls_in_half_a_cosine() -> None:
    schedule = Schedule(20, 1e-3)
    assert [schedule.rate(step) for step in (0, 1, 2)] == pytest.approx([5e-4, 1e-3, 1e-3 * 0.9932], rel=1e-4)
    assert schedule.rate(19) == pytest.approx(1e-3 * 0.00681, rel=1e-2)
    assert Schedule(1, 1e-3).rate(0) == 1e-3


def test_every_batch_has_its_turn_in_each_round_and_rounds_differ() -> None:
    schedule = Schedule(seed=1)
    rounds = [[schedule.batch(9 * r + step, 9) for step in range(9)] for r in range(3)]
    assert [sorted(r) for r in rounds] == [list(range(9))] * 3
    assert rounds[0] != rounds[1] != rounds[2]
    assert rounds[0] != [Schedule(seed=2).batch(step, 9) for step in range(9)]


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="Expected"):
        Schedule(**wrong)


def test_the_student_begins_as_what_the_simulation_measures(small: Small) -> None:
    loss, frontend = Distillation(small.model), small.model.frontend
    backend = Simulator(small.model).backend(scheme(small.model, 8))
    student = small.student(8)
    for batch in small.speech.batches:
        features = frontend.features(small.speech.waveforms_of(batch))
        answers, wanted = loss.wanted([small.speech.utterances[i] for i in batch], features)
        simulated = frontend.head.logits(backend, frontend.encode(backend, features), answers)
        for own, other in zip(student.logits(features, answers), simulated, strict=True):
            assert support.relative_difference(own.detach(), other) < 1e-5


def trained(small: Small, path: Path, steps: int = 8, rate: float = 3e-3, **others: Any) -> tuple[Student, Trained]:
    student = small.student()
    identity = {"rate": rate}
    result = train(student, Distillation(small.model), small.speech, Schedule(steps, rate), path, identity, **others)
    return student, result


def test_a_few_steps_make_the_divergence_small(small: Small, tmp_path: Path) -> None:
    student, result = trained(small, tmp_path / "state", steps=12)
    assert np.mean(result.losses[-2:]) < 0.5 * np.mean(result.losses[:2])
    small.own.write(student.settled(), written := copied(small.model.path, tmp_path / "tuned"))
    loss, frontend = Distillation(small.model), small.model.frontend
    before, after = (
        mean_loss(frontend, Simulator(model).backend(scheme(model)), loss, small.speech)
        for model in (small.model, load(written))
    )
    assert after < 0.6 * before


@pytest.mark.parametrize("labels", [True, False])
def test_with_labels_it_is_the_error_on_the_text_that_becomes_small(small: Small, tmp_path: Path, labels: bool) -> None:
    student, loss = small.student(), loss_of(small.model, labels=labels)
    result = train(student, loss, small.speech, Schedule(8, 3e-3), tmp_path / "state", {})
    assert ("CTC" in loss.name) == labels
    assert np.mean(result.losses[-2:]) < 0.9 * np.mean(result.losses[:2])


class Killed(Exception):
    """What ends a run in the midst of it."""


def test_a_stopped_run_ends_with_the_weights_of_an_unbroken_one(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "PERIOD", 3)

    def kill(title: str, done: int, total: int) -> None:
        if done == 5:
            raise Killed

    unbroken, whole = trained(small, tmp_path / "unbroken")
    with pytest.raises(Killed):
        trained(small, tmp_path / "state", progress=kill)
    steps = []
    resumed, rest = trained(small, tmp_path / "state", progress=lambda title, done, total: steps.append(done))
    assert steps[0] == 3
    assert rest.losses == whole.losses
    for name, value in resumed.settled().items():
        assert torch.equal(value, unbroken.settled()[name]), name
    with pytest.raises(DataError, match="another model, other speech or other settings"):
        trained(small, tmp_path / "state", rate=1e-3)
    (tmp_path / "state").write_bytes(b"no state")
    with pytest.raises(DataError, match="cannot be read as the state"):
        trained(small, tmp_path / "state")


def test_training_that_comes_to_no_number_is_told(small: Small, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not finite.*smaller --learning-rate"):
        student = small.student()
        with torch.no_grad():
            next(v for n, v in student.trained.items() if n.endswith("layer_norm.weight")).fill_(float("inf"))
        train(student, Distillation(small.model), small.speech, Schedule(3), tmp_path / "state", {})


def copied(source: Path, folder: Path) -> Path:
    """A checkpoint's folder without its weights."""
    folder.mkdir()
    for path in source.iterdir():
        if path.suffix != ".safetensors":
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def logits(model: SpeechModel, weights: Mapping[str, Tensor] | None, own: Parameters) -> Tensor:
    """In float, of the model as it is or with other parameters."""
    sound = np.random.default_rng(3).standard_normal(6000).astype(np.float32)
    frontend = model.frontend
    if weights is not None:
        model = SpeechModel(**{**vars(model), "graphs": tuple(own.build(dict(weights)))})
    backend = Simulator(model).backend({})
    return torch.from_numpy(np.array(frontend.encode(backend, frontend.features([sound]))["logits"]))


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_written_is_what_was_trained_in_every_family(name: str, tmp_path: Path) -> None:
    checkpoint(tmp_path / "source", FORMS[name])
    model, own = load(tmp_path / "source"), parameters(tmp_path / "source")
    student = Student(model.frontend, own, scheme(model))
    with torch.no_grad():  # training by any rule
        for value in student.trained.values():
            value.mul_(1.01)
    settled = student.settled()
    own.write(settled, copied(tmp_path / "source", tmp_path / "tuned"))
    again = parameters(tmp_path / "tuned")
    assert again.names == own.names
    assert again.values.keys() == settled.keys()
    for key, value in again.values.items():
        assert torch.equal(value, settled[key]), key
        assert torch.equal(value, own.values[key]) == (key not in student.trained or not value.any()), key
    tuned = load(tmp_path / "tuned")
    assert torch.equal(logits(tuned, None, own), logits(model, settled, own))
    assert not torch.equal(logits(tuned, None, own), logits(model, None, own))


def test_a_family_that_cuts_off_a_parameter_is_refused_by_name(small: Small) -> None:
    def cut(values: dict[str, Tensor]) -> Any:
        return small.own.build({n: v.detach() if n == "lm_head.bias" else v for n, v in values.items()})

    own = Parameters(small.own.values, small.own.names, {}, cut)
    with pytest.raises(ModelError, match=r"UniSpeechForCTC cannot be fine-tuned.*lm_head\.bias"):
        Student(small.model.frontend, own, {})


def test_codes_that_speech_decides_are_trained_for_as_the_nearest() -> None:
    fitted = LayerScheme((PerFrame(8),), WeightSpec(4, PerGroup(16), "mse", "gptq", correct_bias=True))
    assert to_nearest({"a": fitted})["a"].weight == WeightSpec(4, PerGroup(16), "mse")
    product = LayerScheme((PerFrame(8),), None)
    assert to_nearest({"a": product}) == {"a": product}


def test_step_numbers_find_the_logits_that_a_head_picked() -> None:
    backend = StepNumbers()
    fetched = torch.arange(12.0).reshape(2, 3, 2).requires_grad_()
    numbers = backend.get(fetched)
    first, second = backend.at([numbers[0][:1], numbers[1][1:]])
    assert (first.tolist(), second.tolist()) == ([[0, 1]], [[8, 9], [10, 11]])
    assert backend.get(torch.tensor([7])).tolist() == [7]
