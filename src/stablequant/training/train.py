"""The loop: AdamW on a checkpoint's parameters, warmed up and cooled down, and a state from which a stopped run goes on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from stablequant.data.speech import Speech
from stablequant.errors import DataError, SettingsError
from stablequant.families.frontend import Frontend
from stablequant.files import json_value, replacing
from stablequant.network.backend import Backend
from stablequant.progress import Progress, silent
from stablequant.training.losses import Loss
from stablequant.training.student import Student

#: Steps after which the state is kept, which takes as long as a step or two.
PERIOD = 20
#: The learning rate rises in this share of the steps, and falls as half a cosine in the rest.
WARM_UP = 0.1
#: Length that a longer gradient is cut to.
LONGEST_GRADIENT = 1.0
TITLE = "fine-tuning"


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a model is trained.

    Attributes:
        steps: Of the optimiser, one a batch.
        learning_rate: At its highest.
        seed: Of the order of batches.

    Raises:
        SettingsError: A number is out of range.
    """

    steps: int = 200
    learning_rate: float = 2e-5
    seed: int = 0

    def __post_init__(self) -> None:
        """Check both."""
        if not 1 <= self.steps <= 1_000_000:
            what = f"{self.steps} steps of fine-tuning"
            raise SettingsError(what, expected="1 to 1,000,000")
        if not 0 < self.learning_rate <= 1:
            what = f"the learning rate {self.learning_rate:g}"
            raise SettingsError(what, expected="a number above 0 and at most 1, as a rule 1e-6 to 1e-4")

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0: up in a straight line, down in half a cosine that ends at 0."""
        rise = max(1, round(WARM_UP * self.steps))
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step + 1 - rise) / (self.steps + 1 - rise)))

    def batch(self, step: int, count: int) -> int:
        """Which of ``count`` batches a step takes: each once in an order of its own, then each again in another."""
        order = np.random.default_rng((self.seed, step // count)).permutation(count)
        return int(order[step % count])


@dataclass(frozen=True)
class Trained:
    """What came of it: the loss of each step, in nats a unit, and seconds of computation, those of stopped runs too."""

    losses: tuple[float, ...]
    seconds: float


def train(
    student: Student,
    loss: Loss,
    speech: Speech,
    schedule: Schedule,
    state: Path,
    identity: Mapping[str, Any],
    progress: Progress = silent,
) -> Trained:
    """Train a student in place.

    Args:
        student: What is trained.
        loss: What is made small.
        speech: One batch a step.
        schedule: How long and how fast.
        state: File that is kept every `PERIOD` steps; one that is there is gone on from.
        identity: All that the result depends on, as JSON holds it: a state of something else is refused.
        progress: Told how many steps are done.

    Raises:
        DataError: The state is damaged, or of other speech, another model or other settings.
        SettingsError: Training came to values that are not finite.
        ResourceError: The state cannot be written.
    """
    optimizer = torch.optim.AdamW(student.trained.values(), weight_decay=0.0)
    losses, before = _restored(student, optimizer, state, identity) if state.is_file() else ([], 0.0)
    began = time.perf_counter()
    progress(TITLE, len(losses), schedule.steps)
    for step in range(len(losses), schedule.steps):
        if step and step % PERIOD == 0:
            _save(student, optimizer, losses, before + time.perf_counter() - began, state, identity)
        batch = speech.batches[schedule.batch(step, len(speech.batches))]
        optimizer.param_groups[0]["lr"] = schedule.rate(step)
        losses.append(_step(student, optimizer, loss, speech, batch))
        if not math.isfinite(losses[-1]):
            what = f"the loss of step {step + 1} is not finite"
            raise SettingsError(what, expected="training that goes on", fix="use a smaller --learning-rate")
        progress(TITLE, step + 1, schedule.steps)
    return Trained(tuple(losses), before + time.perf_counter() - began)


def mean_loss(frontend: Frontend, backend: Backend, loss: Loss, speech: Speech) -> float:
    """The loss of a model that ``backend`` runs on speech, in nats a unit."""
    nats, units = 0.0, 0
    for batch in speech.batches:
        features = frontend.features(speech.waveforms_of(batch))
        answers, wanted = loss.wanted([speech.utterances[i] for i in batch], features)
        logits = frontend.head.logits(backend, frontend.encode(backend, features), answers)
        found, count = loss([torch.from_numpy(row) for row in logits], wanted)
        nats, units = nats + float(found), units + count
    return nats / max(1, units)


def _step(
    student: Student, optimizer: torch.optim.Optimizer, loss: Loss, speech: Speech, batch: tuple[int, ...]
) -> float:
    """One step of the optimiser; its loss, in nats a unit."""
    features = student.frontend.features(speech.waveforms_of(batch))
    answers, wanted = loss.wanted([speech.utterances[i] for i in batch], features)
    nats, units = loss(student.logits(features, answers), wanted)
    mean = nats / max(1, units)
    optimizer.zero_grad()
    mean.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(student.trained.values(), LONGEST_GRADIENT)
    optimizer.step()
    return float(mean.detach())


def _save(
    student: Student,
    optimizer: torch.optim.Optimizer,
    losses: list[float],
    seconds: float,
    path: Path,
    identity: Mapping[str, Any],
) -> None:
    tensors = {"losses": torch.tensor(losses, dtype=torch.float64)}
    for name, value in student.trained.items():
        tensors[f"{name}:value"] = value.detach().contiguous()
        held = optimizer.state.get(value, {})
        tensors |= {f"{name}:{part}": tensor.contiguous() for part, tensor in held.items()}
    with replacing(path) as part:
        save_file(tensors, part, {"identity": json.dumps(identity), "seconds": repr(seconds)})


def _restored(
    student: Student, optimizer: torch.optim.Optimizer, path: Path, identity: Mapping[str, Any]
) -> tuple[list[float], float]:
    """Losses and seconds of the run that left a state; its values and the optimiser's are put in place."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            if json_value(about["identity"]) != json.loads(json.dumps(identity)):
                what = f"{path} is of a run with another model, other speech or other settings"
                fix = "choose another output folder, or remove that one"
                raise DataError(what, expected="the same command as the one that was stopped", fix=fix)
            held = set(file.keys())
            with torch.no_grad():
                for name, value in student.trained.items():
                    value.copy_(file.get_tensor(f"{name}:value"))
                    parts = [p for p in ("step", "exp_avg", "exp_avg_sq") if f"{name}:{p}" in held]
                    optimizer.state[value] = {p: file.get_tensor(f"{name}:{p}").clone() for p in parts}
            return file.get_tensor("losses").tolist(), float(about["seconds"])
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        what = f"{path} cannot be read as the state of a stopped run: {error}"
        raise DataError(what, fix="remove it: the next run begins anew") from error
